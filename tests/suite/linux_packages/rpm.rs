//! The .rpm, with the package manager of its own on a Debian: its dependencies are not in that one's database.

use super::*;

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn an_rpm_is_installed_upgraded_by_a_job_and_erased_without_loss_of_its_configuration() {
    let lab = Lab::new();
    let machine = lab.boot("12");
    machine.run(&format!("rpm --install --nodeps {RPM}"));
    assert_eq!(
        machine.run("stat -c %a /etc/oco-agent.ini /var/lib/oco-agent"),
        "600\n700\n"
    );
    assert_eq!(
        machine.service("ActiveState"),
        "inactive",
        "it is not configured yet"
    );
    machine.run(&format!(
        "sed -i -e 's|^api-url =|& http://{SERVER_NAME}/api-agent.php|' -e 's|^agent-key =|& {REGISTRATION_KEY}|' /etc/oco-agent.ini
         systemctl enable --now oco-agent"
    ));
    lab.wait_for_registration();
    hasten(&machine);
    let (config, pid) = (machine.run("cat /etc/oco-agent.ini"), machine.service("MainPID"));
    let upgrade = format!(
        "rpm --upgrade --nodeps {LATER_RPM} && systemctl show --property MainPID oco-agent && sleep 2 && echo done"
    );
    let output = run_job(&lab.server, "upgrade", &upgrade);
    assert!(output.ends_with(&format!("MainPID={pid}\ndone\n")), "{output}");
    wait_for_renewal(&machine, &pid);
    assert_eq!(
        machine.run("rpm --query oco-agent"),
        "oco-agent-99.0.0-1.x86_64\n"
    );
    assert_eq!(machine.run("cat /etc/oco-agent.ini"), config);
    assert_eq!(machine.service("UnitFileState"), "enabled");

    machine.run("rpm --erase oco-agent");
    assert_eq!(machine.run("cat /etc/oco-agent.ini.rpmsave"), config);
    machine.run(
        "! test -e /etc/oco-agent.ini; ! test -e /usr/bin/oco-agent; ! systemctl --quiet is-active oco-agent",
    );
}

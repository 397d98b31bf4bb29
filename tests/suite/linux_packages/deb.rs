//! The .deb.

use super::*;

/// Preseeds the lab's server and installs the package, unattended.
fn install(machine: &Machine) {
    machine.run(&format!(
        "debconf-set-selections <<'END'
oco-agent oco-agent/server-name string http://{SERVER_NAME}/api-agent.php
oco-agent oco-agent/agent-key password {REGISTRATION_KEY}
oco-agent oco-agent/server-key password
END
        dpkg -i {DEB}"
    ));
}

fn installed(lab: &Lab, release: &str) -> Machine {
    let machine = lab.boot(release);
    install(&machine);
    lab.wait_for_registration();
    hasten(&machine);
    machine
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn on_debian_11_an_unattended_installation_works_and_purging_it_leaves_nothing() {
    an_unattended_installation_works_and_purging_it_leaves_nothing("11");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn on_debian_12_an_unattended_installation_works_and_purging_it_leaves_nothing() {
    an_unattended_installation_works_and_purging_it_leaves_nothing("12");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn on_debian_13_an_unattended_installation_works_and_purging_it_leaves_nothing() {
    an_unattended_installation_works_and_purging_it_leaves_nothing("13");
}

fn an_unattended_installation_works_and_purging_it_leaves_nothing(release: &str) {
    let lab = Lab::new();
    let machine = lab.boot(release);
    let before = machine.files();
    install(&machine);
    assert_eq!(
        // What it says of the control groups of these containers is no matter of the unit.
        machine.run(
            "systemd-analyze verify --man=no oco-agent.service 2>&1 | grep -v 'compat systemd cgroup' || true"
        ),
        ""
    );
    assert_eq!(
        machine.run("stat -c '%a %U %n' /etc/oco-agent.ini /var/lib/oco-agent"),
        "600 root /etc/oco-agent.ini\n700 root /var/lib/oco-agent\n"
    );
    lab.wait_for_registration();
    let config = machine.run("cat /etc/oco-agent.ini");
    assert!(
        config.contains(&format!("\napi-url = http://{SERVER_NAME}/api-agent.php\n")),
        "{config}"
    );
    assert!(
        !config.contains(REGISTRATION_KEY),
        "the computer has a key of its own: {config}"
    );
    machine.run(&format!(
        "! grep -r {REGISTRATION_KEY} /var/cache/debconf /var/lib/dpkg /var/log /etc"
    ));
    assert_eq!(machine.service("UnitFileState"), "enabled");
    hasten(&machine);
    jobs_are_not_confined(&lab, &machine);

    machine.run("dpkg -r oco-agent");
    let left = machine.run(
        "stat -c '%a %n' /etc/oco-agent.ini; ! test -e /usr/bin/oco-agent; ! systemctl is-active oco-agent",
    );
    assert_eq!(left, "600 /etc/oco-agent.ini\ninactive\n");
    machine.run("dpkg -P oco-agent");
    assert_eq!(machine.files(), before);
    assert_eq!(machine.run("debconf-show oco-agent"), "");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn the_shell_completes_options_and_the_restarter_of_services_leaves_the_agent_alone() {
    let lab = Lab::new();
    let machine = lab.boot("12");
    machine.run(&format!("dpkg -i {DEB}"));
    let complete = |words: &str| {
        machine.run(&format!(
            "bash -euc '. /usr/share/bash-completion/completions/oco-agent; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             $(complete -p oco-agent | grep -o \"_oco[^ ]*\") oco-agent ${{COMP_WORDS[-1]}} ${{COMP_WORDS[-2]}}; echo ${{COMPREPLY[@]}}'"
        ))
    };
    assert_eq!(complete("oco-agent --dae"), "--daemon\n");
    assert_eq!(complete("oco-agent inventory --pre"), "--pretty\n");
    let evaluated = machine.run(
        "perl -e 'our %nrconf; do \"/etc/needrestart/conf.d/oco-agent.conf\"; die $@ if $@;
                  print join(\",\", map { \"oco-agent.service\" =~ /$_/ } keys %{$nrconf{override_rc}})'",
    );
    assert_eq!(evaluated, "1");
}

/// What the service is allowed, its jobs are: nothing may keep an installer from working.
fn jobs_are_not_confined(lab: &Lab, machine: &Machine) {
    let facts = "umask; readlink /proc/PID/ns/mnt; grep -E '^(NoNewPrivs|CapBnd):' /proc/PID/status; \
                 grep -E 'processes' /proc/PID/limits";
    let of_job = run_job(
        &lab.server,
        "facts",
        &format!("{}; echo $HOME; echo $PATH", facts.replace("PID", "self")),
    );
    let of_system = machine.run(&format!("{}; echo /root", facts.replace("PID", "1")));
    assert!(
        of_job.starts_with(&of_system),
        "{of_job}\ninstead of\n{of_system}"
    );
    assert!(of_job.contains("/usr/sbin:"), "{of_job}");
    assert_eq!(machine.service("TasksMax"), "infinity");
    assert_eq!(machine.service("KillMode"), "process");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn an_upgrade_that_is_a_job_lets_that_job_finish_and_starts_the_new_version() {
    let lab = Lab::new();
    let machine = installed(&lab, "12");
    let (config, pid) = (machine.run("cat /etc/oco-agent.ini"), machine.service("MainPID"));
    let procedure = format!(
        "dpkg -i --force-confnew {LATER_DEB} && systemctl show --property MainPID oco-agent && sleep 2 && echo done"
    );
    let output = run_job(&lab.server, "upgrade", &procedure);
    assert!(output.ends_with(&format!("MainPID={pid}\ndone\n")), "{output}");
    wait_for_renewal(&machine, &pid);
    assert_eq!(
        machine.run("dpkg-query --show --showformat '${Version} ${Status}' oco-agent"),
        "99.0.0 install ok installed"
    );
    assert_eq!(machine.run("cat /etc/oco-agent.ini"), config);
    assert_eq!(run_job(&lab.server, "after", "echo after"), "after\n");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn an_upgrade_in_the_middle_of_a_job_disturbs_neither_the_job_nor_the_state() {
    let lab = Lab::new();
    let machine = installed(&lab, "12");
    assert_eq!(run_job(&lab.server, "before", "echo before"), "before\n");
    let deployment = start_long_job(&lab);
    let pid = machine.service("MainPID");
    let state = || machine.run("cd /var/lib/oco-agent; md5sum /etc/oco-agent.ini; find journal | sort");
    let before = state();
    machine.run(&format!("dpkg -i {LATER_DEB}"));
    assert_eq!((machine.service("MainPID"), state()), (pid.clone(), before));
    end_long_job(&machine, &lab.server, deployment);
    wait_for_renewal(&machine, &pid);
    assert_eq!(run_job(&lab.server, "after", "echo after"), "after\n");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn a_stop_waits_for_the_running_job() {
    let lab = Lab::new();
    let machine = installed(&lab, "12");
    let deployment = start_long_job(&lab);
    machine.run("systemctl stop --no-block oco-agent");
    machine.wait_until("journalctl -u oco-agent | grep -q 'a running job is let finish'");
    assert_eq!(machine.service("ActiveState"), "deactivating");
    end_long_job(&machine, &lab.server, deployment);
    machine.wait_until("[ \"$(systemctl is-active oco-agent)\" = inactive ]");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn the_agent_can_be_removed_by_one_of_its_jobs() {
    let lab = Lab::new();
    let machine = installed(&lab, "12");
    let output = run_job(&lab.server, "remove", "dpkg -r oco-agent && echo removed");
    assert!(output.ends_with("removed\n"), "{output}");
    machine.wait_until("[ \"$(systemctl is-active oco-agent)\" = inactive ]");
    machine.run("test -e /etc/oco-agent.ini; ! test -e /usr/bin/oco-agent");
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn answers_are_written_to_the_letter_and_a_new_answer_changes_nothing_else() {
    let lab = Lab::new();
    let machine = lab.boot("12");
    machine.run(&format!(
        "debconf-set-selections <<'END'
oco-agent oco-agent/server-name string oco.example.com:8443
oco-agent oco-agent/agent-key password a;b#\"$HOME\\1&'=
oco-agent oco-agent/server-key password %s `id`
END
        dpkg -i {DEB}"
    ));
    let config = machine.run("cat /etc/oco-agent.ini");
    for line in [
        "api-url = https://oco.example.com:8443/api-agent.php",
        "agent-key = a;b#\"$HOME\\1&'=",
        "server-key = %s `id`",
    ] {
        assert_eq!(
            config.lines().filter(|candidate| *candidate == line).count(),
            1,
            "{config}"
        );
    }
    // An editor that answers the questions stands in for a person.
    machine.run(
        "printf '#!/bin/sh\\nsed -i s/oco.example.com:8443/new.example.com/ \"$1\"\\n' > /editor; chmod +x /editor
         DEBIAN_FRONTEND=editor EDITOR=/editor dpkg-reconfigure oco-agent",
    );
    assert_eq!(
        machine.run("cat /etc/oco-agent.ini"),
        config.replace("oco.example.com:8443", "new.example.com")
    );
    assert_eq!(machine.run("stat -c %a /etc/oco-agent.ini"), "600\n");
}

/// Installs what an agent of before version 2 looks like to a package manager: `/etc/oco-agent.ini` is a configuration file
/// that dpkg knows, the unit lies in `/lib`, and the program is a script that ends after its job.
fn install_predecessor(machine: &Machine) {
    machine.run(&format!(
        "mkdir -p /old/DEBIAN /old/etc /old/lib/systemd/system /old/usr/bin /old/usr/share/oco-agent; cd /old
         printf '%s\\n' 'Package: oco-agent' 'Version: 1.2.0' 'Architecture: all' 'Maintainer: none <none@localhost>' \
             'Description: agent' > DEBIAN/control
         echo /etc/oco-agent.ini > DEBIAN/conffiles
         printf '#!/bin/sh\\nset -e\\ndeb-systemd-helper enable oco-agent.service\\nsystemctl daemon-reload\\nsystemctl start oco-agent\\n' \
             > DEBIAN/postinst
         printf '[agent]\\nagent-key =\\n[server]\\napi-url =\\nserver-key = None\\n' > etc/oco-agent.ini
         printf '[Service]\\nExecStart=/usr/bin/oco-agent --daemon\\nRestart=always\\nTimeoutStopSec=320\\n\
[Install]\\nWantedBy=multi-user.target\\n' > lib/systemd/system/oco-agent.service
         printf '%s\\n' '#!/bin/sh' 'trap ending=1 TERM' 'while [ -z \"$ending\" ]; do' '[ ! -e /job ] || {{ mv /job /running; sh /running; }}' \
             'sleep 0.1' 'done' > usr/share/oco-agent/agent
         chmod +x DEBIAN/postinst usr/share/oco-agent/agent
         ln -s /usr/share/oco-agent/agent usr/bin/oco-agent
         dpkg-deb --build /old /old.deb && dpkg -i /old.deb && rm -r /old /old.deb
         printf '; ours\\n[agent]\\nagent-key = {REGISTRATION_KEY}\\nquery-interval = 1\\n[server]\\n\
api-url = http://{SERVER_NAME}/api-agent.php\\nserver-key = None\\n' > /etc/oco-agent.ini"
    ));
}

#[test]
#[ignore = "needs containers: ci/packages-test"]
fn an_agent_of_before_version_2_can_order_the_upgrade_and_its_configuration_lives_on() {
    let lab = Lab::new();
    let machine = lab.boot("12");
    install_predecessor(&machine);
    let pid = machine.service("MainPID");
    machine.run(&format!(
        "printf '%s\\n' 'dpkg -i --force-confnew {DEB}' 'sleep 2' 'touch /job-ended' > /new-job; mv /new-job /job"
    ));
    machine.wait_until("test -e /job-ended");
    wait_for_renewal(&machine, &pid);
    lab.wait_for_registration();
    let config = machine.run("cat /etc/oco-agent.ini");
    assert!(config.starts_with("; ours\n[agent]\nagent-key = "), "{config}");
    assert!(!config.contains(REGISTRATION_KEY), "{config}");
    assert_eq!(run_job(&lab.server, "after", "echo after"), "after\n");
    machine.run("dpkg -P oco-agent");
    machine.run("! test -e /etc/oco-agent.ini; ! test -e /var/lib/oco-agent; ! test -e /lib/systemd/system/oco-agent.service");
}

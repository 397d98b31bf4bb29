//! Local accounts: passwd(5) and shadow(5).

use super::push;
use crate::generate::{Draw, Profile, Topic};

/// `/etc/passwd`.
pub(super) fn passwd(profile: &Profile) -> Vec<u8> {
    let mut lines = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        bin:x:2:2:bin:/bin:/usr/sbin/nologin\nsys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
        www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\n\
        sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        .to_vec();
    for (number, account) in profile.accounts().iter().enumerate() {
        let head = format!("{}:x:{1}:{1}:", account.name, account.number);
        let home = account.home.as_deref().unwrap_or("/");
        lines.extend_from_slice(head.as_bytes());
        lines.extend_from_slice(account.full_name.as_bytes());
        if number == 0 && profile.defects.legacy_encoding {
            lines.extend_from_slice(b" (M\xfcnchen)");
        }
        // chfn's other fields: room, work phone, home phone.
        lines.extend_from_slice(if number == 0 { b",,," } else { b"" });
        lines.extend_from_slice(format!(":{home}:{}\n", account.shell).as_bytes());
    }
    lines.extend_from_slice(b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    if profile.defects.legacy_encoding {
        // A left-over of NIS, and a line that somebody cut.
        lines.extend_from_slice(b"+::::::\nbroken:x:\n");
    }
    lines
}

/// `/etc/shadow`.
pub(super) fn shadow(profile: &Profile) -> Vec<u8> {
    let mut draw = Draw::new(profile.machine, Topic::User, 2);
    let mut text =
        String::from("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nsshd:!:19000::::::\n");
    for account in profile.accounts() {
        let lock = if account.disabled { "!" } else { "" };
        push(&mut text, &[&account.name, ":", lock, "$y$j9T$"]);
        draw.text(
            b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            43,
            &mut text,
        );
        text.push_str(":19500:0:99999:7:::\n");
    }
    text.into_bytes()
}

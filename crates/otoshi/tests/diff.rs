//! `otoshi diff` on images that a user built.

mod support;

use otoshi_test::given;
use support::Shop;

const OLD: &str = "FROM otoshi.test/busybox:1\n\
    RUN mkdir -p /var/lib/dpkg /d && printf 'Package: p\\nStatus: install ok installed\\nVersion: 1\\n' > /var/lib/dpkg/status\n\
    RUN echo one > /d/content && echo x > /d/mode && echo gone > /d/gone && ln -s a /d/link && echo same > /same\n\
    ENV A=1\n";
const NEW: &str = "FROM otoshi.test/busybox:1\n\
    RUN mkdir -p /var/lib/dpkg /d && printf 'Package: p\\nStatus: install ok installed\\nVersion: 2\\n' > /var/lib/dpkg/status\n\
    RUN echo two > /d/content && echo x > /d/mode && chmod 600 /d/mode && ln -s b /d/link && echo same > /same\n\
    RUN rm /etc/base && rm -r /bin/ls && touch /added\n\
    ENV A=2\n";

#[test]
fn two_images_are_compared_without_running_them() {
    let shop = given!(Shop::new());
    let path = "SHELL [\"/bin/sh\", \"-c\"]\nRUN true\n";
    for (name, text) in [("old", OLD), ("new", NEW)] {
        // Only busybox itself is in the base.
        let text = text.replace("mkdir", "/bin/busybox mkdir").replace("printf", "/bin/busybox printf");
        let text = text.replace("chmod", "/bin/busybox chmod").replace("ln -s", "/bin/busybox ln -s");
        let text = text.replace("rm ", "/bin/busybox rm ").replace("touch", "/bin/busybox touch");
        shop.write(&format!("{name}/Dockerfile"), &format!("{text}{path}"));
        shop.ok(&["image", "build", name, "-t", &format!("{name}:1")]);
    }
    let output = shop.otoshi(&["diff", "old:1", "new:1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (config, rest) = text.split_once("packages\n").unwrap();
    assert!(config.contains("  config.Env.A  1 → 2\n"), "{text}");
    let expected = "  p  1 → 2\nfiles\n  + /added\n  - /bin/ls\n  ~ /d/content  content\n  - /d/gone\n  \
                    ~ /d/link  target  a → b\n  ~ /d/mode  mode  0644 → 0600\n  - /etc/base\n  ~ /var/lib/dpkg/status  content\n";
    assert_eq!(rest, expected, "{text}");

    // The other way round, what was removed is added.
    let back: serde_json::Value =
        serde_json::from_slice(&shop.otoshi(&["diff", "--json", "new:1", "old:1"]).stdout).unwrap();
    let base = back["files"].as_array().unwrap().iter().find(|file| file["path"] == "/etc/base").unwrap();
    assert_eq!(base["change"], "added");
    assert_eq!(shop.ok(&["diff", "new:1", "new:1"]), "");
    assert_eq!(shop.otoshi(&["diff", "new:1", "missing:1"]).status.code(), Some(2));
}

//! The images that the cases start from: busybox as Debian builds it, and images made of it by `conformance/bases/*/Dockerfile`.
//!
//! Docker makes them, and every other builder takes in what it saved, so that all start from the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tar::{Builder, EntryType, Header};

use crate::{
    docker::Daemon,
    failure::{Failure, Result},
    process, root,
};

const BUSYBOX: &str = "/bin/busybox";

/// The registry that all bases seem to be from.
const REGISTRY: &str = "otoshi.test";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
    app:x:1000:1000:an application:/home/app:/bin/sh\nweb:x:33:34:another group than user:/srv:/bin/sh\n\
    7777:x:1234:1235:a number for a name:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nwww:x:34:\napp:x:1000:\nstaff:x:50:app,web\nlogs:x:51:app\n";

/// Makes the bases in Docker and saves them in a directory, an archive for each.
pub(super) fn make(docker: &Daemon, directory: &Path) -> Result<Vec<PathBuf>> {
    let rootfs = directory.join("busybox.tar");
    fs::write(&rootfs, busybox()?).map_err(Failure::file("writing", &rootfs))?;
    let name = |short: &str| format!("{REGISTRY}/{short}");
    let mut names = vec![name("no-path"), name("busybox")];
    process::read(docker.command().arg("import").arg(&rootfs).arg(&names[0]))?;
    process::read(docker.command().args(["import", "-c", "ENV PATH=/bin"]).arg(&rootfs).arg(&names[1]))?;

    let folder = root().join("conformance/bases");
    let entries = fs::read_dir(&folder).map_err(Failure::file("listing", &folder))?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    folders.sort();
    for folder in folders {
        let name = name(&folder.file_name().unwrap_or_default().to_string_lossy());
        process::read(docker.command().args(["build", "--network=host", "--tag", &name]).arg(&folder))?;
        names.push(name);
    }
    let mut bases = Vec::new();
    for name in names {
        // One archive for all would have links in place of layers, which not every reader follows.
        let archive = directory.join(format!("{}.tar", name.replace('/', "-")));
        process::read(docker.command().args(["save", "--output"]).arg(&archive).arg(&name))?;
        bases.push(archive);
    }
    Ok(bases)
}

/// Gives another Docker a base.
pub(super) fn load(docker: &Daemon, archive: &Path) -> Result {
    process::read(docker.command().args(["load", "--input"]).arg(archive)).map(drop)
}

/// A small root file system as a tar: busybox under the names of all that it can do, and some users and groups.
fn busybox() -> Result<Vec<u8>> {
    let program = fs::read(BUSYBOX).map_err(Failure::file("reading", BUSYBOX))?;
    let applets = process::read(Command::new(BUSYBOX).arg("--list"))?;
    let mut tar = Builder::new(Vec::new());
    let mut add = |path: &str, kind: EntryType, mode: u32, content: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).map_err(Failure::file("packing", path))
    };
    // Not /dev, /proc and /sys: whoever leaves them in a layer of RUN is seen.
    for path in ["bin", "etc", "home", "srv", "usr", "var"] {
        add(path, EntryType::Directory, 0o755, b"")?;
    }
    add("root", EntryType::Directory, 0o700, b"")?;
    add("tmp", EntryType::Directory, 0o1777, b"")?;
    add("etc/passwd", EntryType::Regular, 0o644, PASSWD.as_bytes())?;
    add("etc/group", EntryType::Regular, 0o644, GROUP.as_bytes())?;
    add("bin/busybox", EntryType::Regular, 0o755, &program)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_mtime(1_700_000_000);
        let path = format!("bin/{applet}");
        tar.append_link(&mut header, &path, "busybox").map_err(Failure::file("packing", path))?;
    }
    tar.into_inner().map_err(Failure::file("packing", BUSYBOX))
}

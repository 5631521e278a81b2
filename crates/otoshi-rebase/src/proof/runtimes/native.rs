//! Modules in machine code whose interface has a number that no path tells.

use super::super::elf::Elf;
use super::runtime::{File, Need, Runtime, define};

/// Node: the number of its modules' interface, in `node_version.h` or in the name of its library. N-API has none.
pub(super) struct Node;
/// R: the first number of its version. Packages are built for that.
pub(super) struct R;
/// R's graphics engine: packages that draw insist on the number that they were built with.
pub(super) struct RGraphics;
/// A server with modules that say in their own data which server they are made for.
pub(super) struct Server {
    name: &'static str,
}

/// nginx, which takes modules of the very same version, and Apache, which numbers their interface.
pub(super) const SERVERS: [Server; 2] = [Server { name: "nginx" }, Server { name: "apache" }];

impl Runtime for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        if let Some(number) = file.name().strip_prefix("libnode.so.") {
            return vec![number.to_owned()];
        }
        let header = file.text().filter(|_| file.name() == "node_version.h");
        let number = header.and_then(|text| define(text, "NODE_MODULE_VERSION"));
        number.map(|number| number.to_string()).into_iter().collect()
    }

    /// The module does not say which; it ran on the old base's.
    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        let elf = file.elf().filter(|_| file.extension() == Some("node"))?;
        let stable = elf.defines(b"napi_register_module_v1")
            || elf.imports().any(|symbol| symbol.starts_with(b"napi_"))
                && !elf.imports().any(|symbol| symbol.starts_with(b"_ZN2v8"));
        (!stable).then(|| old.first().map(|version| Need::Exactly((*version).to_owned())))?
    }
}

/// Whether a file is in machine code and lies in a package of R.
fn is_of_package(file: File<'_>) -> bool {
    let parts: Vec<&str> = file.path.rsplit('/').take(4).collect();
    file.extension() == Some("so")
        && parts.get(1) == Some(&"libs")
        && parts.get(3).is_some_and(|library| library.ends_with("library"))
}

impl Runtime for R {
    fn name(&self) -> &'static str {
        "r"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let text = file.text().filter(|_| file.path.ends_with("R/library/base/DESCRIPTION"));
        let line = text.and_then(|text| text.lines().find_map(|line| line.strip_prefix("Version:")));
        let major = line.and_then(|version| version.trim().split('.').next());
        major.map(str::to_owned).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        is_of_package(file).then(|| old.last().map(|version| Need::Exactly((*version).to_owned())))?
    }
}

impl Runtime for RGraphics {
    fn name(&self) -> &'static str {
        "r-graphics-engine"
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        let text = file.text().filter(|_| file.name() == "GraphicsEngine.h");
        let number = text.and_then(|text| define(text, "R_GE_version"));
        number.map(|number| number.to_string()).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need> {
        let insists = |symbol: &[u8]| symbol.starts_with(b"R_GE_checkVersionOrDie");
        let draws = is_of_package(file) && file.elf().is_some_and(|elf| elf.imports().any(insists));
        draws.then(|| old.last().map(|version| Need::Exactly((*version).to_owned())))?
    }
}

impl Server {
    fn number(&self, file: File<'_>) -> Option<u32> {
        let elf = file.elf()?;
        elf.modules.iter().find(|(server, _)| server == self.name).map(|(_, number)| *number)
    }

    /// As people write it: 1022001 is nginx 1.22.1.
    fn version(&self, number: u32) -> String {
        match self.name {
            "nginx" => format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000),
            _ => number.to_string(),
        }
    }
}

impl Runtime for Server {
    fn name(&self) -> &'static str {
        self.name
    }

    fn shown_by(&self, file: File<'_>) -> Vec<String> {
        // The program itself, whose core is a module too.
        let is_core = |elf: &Elf| elf.defines(b"ngx_core_module") || elf.defines(b"core_module");
        let is_program = file.extension() != Some("so") && file.elf().is_some_and(is_core);
        let number = self.number(file).filter(|_| is_program);
        number.map(|number| self.version(number)).into_iter().collect()
    }

    fn needed_by(&self, file: File<'_>, _: &[&str]) -> Option<Need> {
        self.number(file).map(|number| Need::Exactly(self.version(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{needed, shown};
    use super::*;

    #[test]
    fn node_numbers_its_modules_interface() {
        assert_eq!(shown(&Node, "usr/lib/x86_64-linux-gnu/libnode.so.108", ""), ["108"]);
        let header = "#define NODE_MODULE_VERSION NODE_EMBEDDER_MODULE_VERSION\n# define x\n#define NODE_MODULE_VERSION 137\n";
        assert_eq!(shown(&Node, "usr/local/include/node/node_version.h", header), ["137"]);
        assert_eq!(needed(&Node, "app/m.node", "", &["108"]), None, "no machine code");
    }

    #[test]
    fn r_and_its_graphics_engine() {
        let base = "Package: base\nVersion: 4.2.2\n";
        assert_eq!(shown(&R, "usr/lib/R/library/base/DESCRIPTION", base), ["4"]);
        let package = "usr/local/lib/R/site-library/ragg/libs/ragg.so";
        assert_eq!(needed(&R, package, "", &["4"]), Some(Need::Exactly("4".into())));
        assert_eq!(needed(&RGraphics, package, "", &["15"]), None, "it does not draw");
        let header = "#define R_GE_group 15\n#define R_GE_version R_GE_group\n";
        assert_eq!(shown(&RGraphics, "usr/share/R/include/R_ext/GraphicsEngine.h", header), ["15"]);
    }
}

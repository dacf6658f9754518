//! What a capture tells of the machine besides its CPUs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use selfsame_cpuid::Vendor;
use selfsame_x86::cpuid;

/// The machine's files, below a root that tests put elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) root: PathBuf,
}

impl Host {
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Reads one of the kernel's small files.
    fn read(&self, relative: &str) -> Option<String> {
        fs::read_to_string(self.path(relative)).ok().map(|text| text.trim().to_owned())
    }

    pub(super) fn name(&self, name: Option<&str>) -> String {
        let host = || {
            let name = self.read("proc/sys/kernel/hostname").unwrap_or_default();
            let label: String = name.chars().take_while(|&c| c != '.').filter(|&c| is_plain(c)).collect();
            if label.is_empty() { "host".to_owned() } else { label }
        };
        name.map_or_else(host, str::to_owned)
    }

    /// What explains differences between captures, and nothing that tells whose machine this is.
    pub(super) fn context(&self) -> Vec<(String, String)> {
        let module = self.kvm_module();
        let nested =
            module.as_deref().and_then(|module| self.read(&format!("sys/module/kvm_{module}/parameters/nested")));
        let pairs = [
            ("kernel", self.read("proc/sys/kernel/osrelease")),
            ("microcode", self.microcode()),
            ("kvm", module),
            ("nested", nested.map(|value| if matches!(&*value, "1" | "Y") { "1" } else { "0" }.to_owned())),
            ("qemu", qemu_version()),
        ];
        let plain = pairs.into_iter().filter_map(|(key, value)| Some((key, value?.replace(|c| !is_plain(c), ""))));
        plain.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn microcode(&self) -> Option<String> {
        self.read("sys/devices/system/cpu/cpu0/microcode/version").or_else(|| {
            let cpus = self.read("proc/cpuinfo")?;
            let line = cpus.lines().find_map(|line| line.strip_prefix("microcode")?.trim_start().strip_prefix(':'))?;
            Some(line.trim().to_owned())
        })
    }

    /// The part of KVM that runs guests: `intel`, `amd` or another that a kernel brings.
    ///
    /// A kernel that has several built in shows them all: then the CPU's vendor tells.
    fn kvm_module(&self) -> Option<String> {
        let entries = fs::read_dir(self.path("sys/module")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let modules: Vec<_> = names.filter_map(|name| Some(name.strip_prefix("kvm_")?.to_owned())).collect();
        let own = if Vendor::of(cpuid(0, 0)).is_amd_like() { "amd" } else { "intel" };
        match &*modules {
            [module] => Some(module.clone()),
            _ => modules.into_iter().find(|module| module == own),
        }
    }
}

/// Whether a character can stand in a value of the context.
fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && c != '#'
}

/// The version of this machine's QEMU, if there is one that answers soon.
fn qemu_version() -> Option<String> {
    // The second is where Red Hat's packages have it.
    ["qemu-system-x86_64", "/usr/libexec/qemu-kvm"].into_iter().find_map(|program| version_in(&answer(program)?))
}

/// Finds the version in `QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0)`.
fn version_in(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once(" version ")?;
    let version = rest.split([' ', '\n', ',']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

/// What a program answers to `--version`, unless it takes longer than two seconds.
fn answer(program: &str) -> Option<String> {
    let (input, errors) = (Stdio::null(), Stdio::null());
    let mut child =
        Command::new(program).arg("--version").stdin(input).stderr(errors).stdout(Stdio::piped()).spawn().ok()?;
    let start = Instant::now();
    // A version fits in the pipe: the program does not wait for a reader.
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > Duration::from_secs(2) {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    io::read_to_string(child.stdout?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process;

    /// A machine of files only, removed at the end of its test.
    pub(in crate::capture) struct Files(pub(in crate::capture) Host);

    impl Files {
        pub(in crate::capture) fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("selfsame-capture-{}-{test}", process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(Host { root })
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.root);
        }
    }

    fn value_of(files: &Files, key: &str) -> Option<String> {
        files.0.context().into_iter().find(|(own, _)| own == key).map(|(_, value)| value)
    }

    #[test]
    fn the_context_is_read_from_the_kernels_files() {
        let files = Files::new(
            "context",
            &[
                ("proc/sys/kernel/osrelease", "6.1.0-28-amd64\n"),
                ("sys/devices/system/cpu/cpu0/microcode/version", "0x2b000590\n"),
                ("sys/module/kvm_intel/parameters/nested", "Y\n"),
                ("sys/module/kvm/parameters/ignore_msrs", "N\n"),
            ],
        );
        for (key, value) in
            [("kernel", "6.1.0-28-amd64"), ("microcode", "0x2b000590"), ("kvm", "intel"), ("nested", "1")]
        {
            assert_eq!(value_of(&files, key).as_deref(), Some(value), "{key}");
        }
    }

    #[test]
    fn the_context_falls_back_to_cpuinfo_and_leaves_out_what_is_not_there() {
        let files =
            Files::new("cpuinfo", &[("proc/cpuinfo", "processor\t: 0\nmicrocode\t: 0x1000065\nflags\t: fpu\n")]);
        assert_eq!(value_of(&files, "microcode").as_deref(), Some("0x1000065"));
        assert_eq!(
            (value_of(&files, "kernel"), value_of(&files, "kvm"), value_of(&files, "nested")),
            (None, None, None)
        );
    }

    #[test]
    fn of_several_kvm_modules_the_vendors_own_counts() {
        let nested = |module| format!("sys/module/kvm_{module}/parameters/nested");
        let files = Files::new("modules", &[(&nested("amd"), "0\n"), (&nested("intel"), "0\n")]);
        let own = if Vendor::of(cpuid(0, 0)).is_amd_like() { "amd" } else { "intel" };
        assert_eq!(value_of(&files, "kvm").as_deref(), Some(own));
        assert_eq!(value_of(&files, "nested").as_deref(), Some("0"));
    }

    #[test]
    fn values_stay_one_word_of_the_grammar() {
        let files = Files::new("words", &[("proc/sys/kernel/osrelease", "6.1 #1 x\n")]);
        assert_eq!(value_of(&files, "kernel").as_deref(), Some("6.11x"));
    }

    #[test]
    fn the_name_is_the_first_label_of_the_host_name() {
        let files = Files::new("name", &[("proc/sys/kernel/hostname", "bnode3.rack7.example.org\n")]);
        assert_eq!(files.0.name(None), "bnode3", "a capture does not tell the site");
        assert_eq!(files.0.name(Some("other")), "other");
        assert_eq!(Files::new("no-name", &[]).0.name(None), "host");
    }

    #[test]
    fn versions_are_found_in_what_qemu_answers() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025 Fabrice Bellard\n";
        assert_eq!(version_in(debian).as_deref(), Some("10.0.2"));
        assert_eq!(version_in("QEMU emulator version 8.2.2\n").as_deref(), Some("8.2.2"));
        assert_eq!(version_in("command not found"), None);
    }
}

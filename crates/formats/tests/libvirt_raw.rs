//! libvirt's raw dumps: read as they are, and what KVM made of them as far as its table says.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use selfsame_cpuid::{Featureset, Place, Register, Word};
use selfsame_formats::{Format, ReadError, read};

mod libvirt_files;

use libvirt_files::{csv, host, libvirt, own};

/// Name and path of every raw dump.
fn dumps(dir: &Path) -> Vec<(String, PathBuf)> {
    let rows = csv(&dir.join("MACHINES.csv"));
    let path = |name: &str| dir.join(format!("machines/x86_64-cpuid-{name}.xml"));
    rows.into_iter().map(|row| (row["machine"].clone(), path(&row["machine"]))).collect()
}

#[test]
fn every_raw_dump_is_read_with_the_signature_that_libvirt_found() {
    let Some(dir) = libvirt() else { return };
    let dumps = dumps(&dir);
    assert_eq!(dumps.len(), 30);
    for (name, path) in dumps {
        let bytes = std::fs::read(&path).unwrap();
        let dump = read(&bytes, &name, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(dump.source.to_string(), "converted:libvirt-cpudata");
        let signature = std::fs::read_to_string(path.with_extension("sig")).unwrap();
        let signature = u32::from_str_radix(signature.lines().next().unwrap().trim(), 16).unwrap();
        assert_eq!(dump.cpus[0].get(1, 0).unwrap().eax & 0x0fff_0fff, signature, "{name}");
        // Rows beyond the highest leaves are named and left out.
        let is_beyond = |leaf: u32| matches!(leaf, 0x2000_0000 | 0x8086_0000 | 0xc000_0000);
        assert!(dump.cpus[0].leaves.keys().all(|(leaf, _)| !is_beyond(*leaf)), "{name}");
    }
}

#[test]
fn msrs_that_repeat_another_one_rotated_are_refused_by_name() {
    let Some(dir) = libvirt() else { return };
    let bytes = std::fs::read(dir.join("known-bad/x86_64-cpuid-Xeon-6788P.KNOWN-BAD-msr-excerpt.xml")).unwrap();
    let refused = ReadError::RotatedMsrs { origin: 0xcf, first: 0x480, count: 9 };
    assert_eq!(read(&bytes, "Xeon-6788P", None), Err(refused.clone()));
    assert!(refused.to_string().starts_with("9 VMX MSRs repeat msr 0xcf with its bytes rotated (first 0x480)"));
}

#[test]
fn formats_of_libvirt_are_found_by_their_content() {
    let Some(dir) = libvirt() else { return };
    for entry in std::fs::read_dir(dir.join("machines")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let wanted = match &*name {
            _ if !name.ends_with(".xml") => continue,
            _ if ["-host.xml", "-guest.xml", "-json.xml"].iter().any(|end| name.ends_with(end)) => Format::LibvirtCpu,
            _ => Format::LibvirtCpuData,
        };
        assert_eq!(selfsame_formats::detect(&bytes), Some(wanted), "{name}");
    }
}

/// Bits of a mask file: rows without a CPU around them.
fn mask(path: &Path) -> Featureset {
    let text = std::fs::read_to_string(path).unwrap();
    let attribute = |line: &str, name: &str| {
        let (_, value) = line.split_once(&format!(" {name}='0x"))?;
        u32::from_str_radix(value.split('\'').next()?, 16).ok()
    };
    let mut set = Featureset::EMPTY;
    for line in text.lines().filter(|line| line.contains("<cpuid ") || line.contains("<msr ")) {
        for register in Register::ALL {
            let value = attribute(line, register.name()).unwrap_or(0);
            for bit in (0..32u8).filter(|bit| value >> bit & 1 == 1) {
                let place = match (attribute(line, "eax_in"), attribute(line, "index")) {
                    (Some(leaf), _) => {
                        Word::find(leaf, attribute(line, "ecx_in").unwrap(), register).and_then(|w| Place::new(w, bit))
                    }
                    (_, Some(index)) => {
                        let bit = if register == Register::Edx { bit + 32 } else { bit };
                        format!("msr:{index:08x}[{bit}]").parse().ok()
                    }
                    _ => panic!("{line}"),
                };
                set.insert(place.unwrap_or_else(|| panic!("{line}: bit {bit} has no place")));
            }
        }
    }
    set
}

/// What the table gives to KVM's guests and QEMU did not give on these machines, or the other way round, with the cause.
/// `*` stands for every machine.
struct Exception {
    features: &'static str,
    machines: &'static str,
    cause: &'static str,
}

const fn except(features: &'static str, machines: &'static str, cause: &'static str) -> Exception {
    Exception { features, machines, cause }
}

const OLD_QEMU: &str = "the dump was made with a QEMU from before it had the name";
const OLD_KERNEL: &str = "the dump was made under a kernel from before KVM passed it on";

/// Features that the raw dump has and QEMU did not give, though the table gives them by default.
static NOT_GIVEN: [Exception; 13] = [
    except("ht", "*", "QEMU sets it for guests with several threads only, and was asked for one"),
    except("zero-fcs-fds fdp-excptn-only", "*", OLD_QEMU),
    except("flush-l1d", "*", OLD_KERNEL),
    except("arat", "Core-i7-3770 Core-i7-5600U-arat Xeon-E7-4820", OLD_QEMU),
    except("clzero perfctr-core xsaveerptr", "EPYC-7601-32-Core-ibpb Hygon-C86-7185-32-core", OLD_QEMU),
    except("flushbyasid lbrv pause-filter pfthreshold tsc-scale v-vmsave-vmload vgif vmcb-clean", "*", OLD_KERNEL),
    except("fsrm rdpid", "Ice-Lake-Server", OLD_KERNEL),
    except("ibrs", "EPYC-7502-32-Core", OLD_QEMU),
    except("rdtscp", "EPYC-7601-32-Core-ibpb Opteron-2350", OLD_KERNEL),
    except("spec-ctrl", "Core-i7-5600U-ibrs", OLD_KERNEL),
    except("stibp", "Core-i7-5600U-ibrs Core-i7-7600U Core-i7-8700 Xeon-E5-2609-v3 Xeon-E5-2623-v4", OLD_KERNEL),
    except("svm", "EPYC-7601-32-Core-ibpb Hygon-C86-7185-32-core", "nested virtualisation was off (kvm_amd nested=0)"),
    except("xsaves", "Core-i7-7700 EPYC-7601-32-Core-ibpb Hygon-C86-7185-32-core Xeon-E3-1225-v5", OLD_KERNEL),
];

/// Features that QEMU gave though the table's maximum has them not.
static NOT_IN_MAX: [Exception; 3] = [
    except("vmx", "*", "the dump has no VMX MSRs, without which nobody knows what its VMX can do"),
    except(
        "vmx-activity-hlt vmx-ept-1gb vmx-ept-2mb vmx-ept-execonly vmx-eptad vmx-eptp-switching vmx-ins-outs vmx-invept \
         vmx-invept-all-context vmx-invept-single-context vmx-invept-single-context-noglobals vmx-invvpid \
         vmx-invvpid-all-context vmx-invvpid-single-addr vmx-page-walk-4 vmx-store-lma vmx-true-ctls \
         vmx-vmwrite-vmexit-fields",
        "Cooperlake",
        "the dump has no VMX MSRs, without which nobody knows what its VMX can do",
    ),
    except("mpx", "Ice-Lake-Server", "leaf 0xD of the dump has no MPX state, and the CPU was built without MPX"),
];

/// Features that QEMU gave and a new guest does not get by the table, though its maximum has them.
static NOT_BY_DEFAULT: [Exception; 1] = [except(
    "mds-no pschange-mc-no rdctl-no skip-l1dfl-vmentry",
    "EPYC-7502-32-Core",
    "KVM emulated arch-capabilities on AMD up to Linux 6.14: accepted everywhere, offered to nobody new",
)];

/// Which of the exceptions were met.
fn assert_listed(what: &str, found: &BTreeMap<&'static str, BTreeSet<String>>, exceptions: &[Exception]) {
    let mut listed: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for Exception { features, machines, cause } in exceptions {
        assert!(!cause.is_empty());
        listed.extend(features.split_ascii_whitespace().map(|feature| (feature, (*machines, *cause))));
    }
    for (feature, machines) in found {
        let Some((allowed, _)) = listed.remove(feature) else { panic!("{what}: {feature}: {machines:?}") };
        let allowed: BTreeSet<String> = allowed.split(' ').map(str::to_owned).collect();
        assert!(allowed.contains("*") || allowed == *machines, "{what}: {feature}: {machines:?}");
    }
    assert!(listed.is_empty(), "{what}: listed and not met: {listed:?}");
}

#[test]
fn what_kvm_gave_is_on_the_side_of_the_table_that_it_should_be() {
    let Some(dir) = libvirt() else { return };
    let (mut not_given, mut not_in_max, mut not_by_default) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut machines = 0;
    let mut features = 0;
    for (name, path) in dumps(&dir) {
        let beside = |kind: &str| dir.join(format!("machines/x86_64-cpuid-{name}-{kind}.xml"));
        if !beside("enabled").exists() {
            continue;
        }
        let (enabled, disabled) = (mask(&beside("enabled")), mask(&beside("disabled")));
        let dump = read(&std::fs::read(&path).unwrap(), &name, None).unwrap();
        let host = host(&dump);
        let (max, default) = (host.max().leaves.features(), host.default().leaves.features());
        let raw = dump.raw().leaves.features();
        for row in own(&(raw | enabled)) {
            let (place, name) = (row.place, name.clone());
            let list = if enabled.contains(place) && !max.contains(place) {
                &mut not_in_max
            } else if enabled.contains(place) && raw.contains(place) && !default.contains(place) {
                &mut not_by_default
            } else if disabled.contains(place) && default.contains(place) {
                &mut not_given
            } else {
                features += 1;
                continue;
            };
            list.entry(row.name).or_insert_with(BTreeSet::new).insert(name);
        }
        machines += 1;
    }
    assert_eq!(machines, 24);
    assert!(features > 1500, "{features} features are on the right side");
    assert_listed("given by the table, not by QEMU", &not_given, &NOT_GIVEN);
    assert_listed("given by QEMU, not in the maximum", &not_in_max, &NOT_IN_MAX);
    assert_listed("given by QEMU, not by default", &not_by_default, &NOT_BY_DEFAULT);
}

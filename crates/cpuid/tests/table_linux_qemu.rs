//! The feature table keeps the prerequisites of Linux and QEMU, but for the differences that are listed.
#![expect(clippy::panic, reason = "a helper that panics is a test that fails")]

use std::collections::BTreeSet;

use selfsame_cpuid::{FEATURES, Feature, feature_at};
use selfsame_xstate::Component;

mod table_differences;
mod table_reference;

use table_differences::linux::LINUX_EDGES;
use table_differences::qemu::QEMU_EDGES;
use table_reference::{assert_all_listed, flattened, named, shared_csv};

/// Linux's flags whose names in `/proc/cpuinfo` are not their names in lower case.
const LINUX_FLAGS: [(&str, &str); 5] =
    [("XMM", "sse"), ("XMM2", "sse2"), ("XMM3", "pni"), ("XMM4_1", "sse4_1"), ("XMM4_2", "sse4_2")];

/// The rows of a flag of Linux. Flags that two vendors keep in two places have two.
fn of_linux(flag: &str) -> Vec<&'static Feature> {
    let lower = flag.to_ascii_lowercase();
    let name = LINUX_FLAGS.iter().find(|row| row.0 == flag).map_or(lower.as_str(), |row| row.1);
    let rows: Vec<_> = FEATURES.iter().filter(|row| row.linux == name).collect();
    assert!(!rows.is_empty(), "no row has Linux's name {name}");
    rows
}

#[test]
fn every_prerequisite_of_linux_is_kept_or_a_listed_difference() {
    let test = "every_prerequisite_of_linux_is_kept_or_a_listed_difference";
    let Some(edges) = shared_csv(test, "corpus/reference/linux_7.2.13_cpuid_deps.csv") else { return };
    let mut missing = BTreeSet::new();
    let mut theirs = BTreeSet::new();
    for fields in &edges {
        let [flag, needs] = fields.as_slice() else { panic!("{fields:?}") };
        let needed = of_linux(needs);
        for row in of_linux(flag) {
            let all = flattened(row);
            if !needed.iter().any(|needed| all.contains(&needed.place)) {
                missing.insert(format!("{flag} needs {needs}"));
            }
            theirs.extend(needed.iter().map(|needed| (row.place, needed.place)));
        }
    }
    let listed = LINUX_EDGES.iter().map(|edge| format!("{} needs {}", edge.feature, edge.needs)).collect();
    assert_all_listed("prerequisites of Linux", &missing, &listed);

    let ours = FEATURES.iter().filter(|row| !row.linux.is_empty());
    let beyond = ours
        .flat_map(|row| row.needs.iter().map(|&needs| (row.place, needs)))
        .filter(|edge| feature_at(edge.1).is_some_and(|row| !row.linux.is_empty()) && !theirs.contains(edge))
        .count();
    println!("prerequisites between features with Linux names: {} in Linux, {beyond} more here", edges.len());
}

/// QEMU's words, whose masks may stand for all of their features.
const QEMU_WORDS: [(&str, &str); 18] = [
    ("FEAT_ARCH_CAPABILITIES", "msr:0000010a"),
    ("FEAT_CORE_CAPABILITY", "msr:000000cf"),
    ("FEAT_PERF_CAPABILITIES", "msr:00000345"),
    ("FEAT_VMX_BASIC", "msr:00000480"),
    ("FEAT_VMX_MISC", "msr:00000485"),
    ("FEAT_VMX_SECONDARY_CTLS", "msr:0000048b"),
    ("FEAT_VMX_EPT_VPID_CAPS", "msr:0000048c"),
    ("FEAT_VMX_PINBASED_CTLS", "msr:0000048d"),
    ("FEAT_VMX_PROCBASED_CTLS", "msr:0000048e"),
    ("FEAT_VMX_EXIT_CTLS", "msr:0000048f"),
    ("FEAT_VMX_ENTRY_CTLS", "msr:00000490"),
    ("FEAT_VMX_VMFUNC", "msr:00000491"),
    ("FEAT_SVM", "8000000a.edx"),
    ("FEAT_14_0_ECX", "00000014.0.ecx"),
    ("FEAT_SGX_12_0_EAX", "00000012.0.eax"),
    ("FEAT_SGX_12_0_EBX", "00000012.0.ebx"),
    ("FEAT_SGX_12_1_EAX", "00000012.1.eax"),
    ("FEAT_24_0_EBX", "00000024.0.ebx"),
];

/// QEMU's constants for masks, and the features that they name.
const QEMU_MASKS: [(&str, &[&str]); 37] = [
    ("CPUID_7_0_EDX_ARCH_CAPABILITIES", &["arch-capabilities"]),
    ("CPUID_7_0_EDX_CORE_CAPABILITY", &["core-capability"]),
    ("CPUID_EXT_PDCM", &["pdcm"]),
    ("CPUID_EXT_VMX", &["vmx"]),
    ("CPUID_EXT2_LM", &["lm"]),
    ("VMX_VM_ENTRY_IA32E_MODE", &["vmx-entry-ia32e-mode"]),
    ("VMX_CPU_BASED_ACTIVATE_SECONDARY_CONTROLS", &["vmx-secondary-ctls"]),
    ("CPUID_XSAVE_XSAVES", &["xsaves"]),
    ("VMX_SECONDARY_EXEC_XSAVES", &["vmx-xsaves"]),
    ("CPUID_EXT_RDRAND", &["rdrand"]),
    ("VMX_SECONDARY_EXEC_RDRAND_EXITING", &["vmx-rdrand-exit"]),
    ("CPUID_7_0_EBX_INVPCID", &["invpcid"]),
    ("VMX_SECONDARY_EXEC_ENABLE_INVPCID", &["vmx-invpcid-exit"]),
    ("CPUID_7_0_EBX_MPX", &["mpx"]),
    ("VMX_VM_EXIT_CLEAR_BNDCFGS", &["vmx-exit-clear-bndcfgs"]),
    ("VMX_VM_ENTRY_LOAD_BNDCFGS", &["vmx-entry-load-bndcfgs"]),
    ("CPUID_7_0_EBX_RDSEED", &["rdseed"]),
    ("VMX_SECONDARY_EXEC_RDSEED_EXITING", &["vmx-rdseed-exit"]),
    ("CPUID_7_0_EBX_INTEL_PT", &["intel-pt"]),
    ("CPUID_EXT2_RDTSCP", &["rdtscp"]),
    ("VMX_SECONDARY_EXEC_RDTSCP", &["vmx-rdtscp-exit"]),
    ("VMX_SECONDARY_EXEC_ENABLE_EPT", &["vmx-ept"]),
    ("VMX_SECONDARY_EXEC_UNRESTRICTED_GUEST", &["vmx-unrestricted-guest"]),
    ("VMX_SECONDARY_EXEC_ENABLE_VPID", &["vmx-vpid"]),
    ("VMX_SECONDARY_EXEC_ENABLE_VMFUNC", &["vmx-vmfunc"]),
    ("CPUID_EXT3_SVM", &["svm"]),
    ("CPUID_7_0_ECX_WAITPKG", &["waitpkg"]),
    ("VMX_SECONDARY_EXEC_ENABLE_USER_WAIT_PAUSE", &["vmx-enable-user-wait-pause"]),
    ("CPUID_7_1_EAX_FRED", &["fred"]),
    ("CPUID_7_1_EAX_LKGS", &["lkgs"]),
    ("CPUID_7_0_EBX_SGX", &["sgx"]),
    ("CPUID_7_0_ECX_SGX_LC", &["sgxlc"]),
    ("CPUID_24_0_EBX_AVX10_128", &["avx10-128"]),
    ("CPUID_24_0_EBX_AVX10_256", &["avx10-256"]),
    ("CPUID_24_0_EBX_AVX10_512", &["avx10-512"]),
    ("CPUID_24_0_EBX_AVX10_VL_MASK", &["avx10-128", "avx10-256", "avx10-512"]),
    ("CPUID_7_1_EDX_AVX10", &["avx10"]),
];

/// The rows that a word and mask of QEMU's name.
fn of_qemu(word: &str, mask: &str) -> Vec<&'static Feature> {
    if let Some((_, names)) = QEMU_MASKS.iter().find(|row| row.0 == mask) {
        return names.iter().map(|name| named(name)).collect();
    }
    let Some((_, prefix)) = QEMU_WORDS.iter().find(|row| row.0 == word) else { panic!("unknown word {word}") };
    let halves: [bool; 2] = match mask {
        "~0ull" => [true, true],
        "0xffffffffull" => [true, false],
        "0xffffffffull << 32" => [false, true],
        _ => panic!("unknown mask {mask}"),
    };
    let bit = |place: &str| place.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok();
    let is_meant = |row: &&Feature| bit(&row.place.to_string()).is_some_and(|bit| halves[bit / 32]);
    let rows: Vec<_> = FEATURES.iter().filter(is_meant).collect();
    assert!(!rows.is_empty(), "no row in {word} {mask}");
    rows
}

#[test]
fn every_gate_of_qemu_is_kept_or_a_listed_difference() {
    let test = "every_gate_of_qemu_is_kept_or_a_listed_difference";
    let Some(gates) = shared_csv(test, "corpus/reference/qemu_10.2.2_feature_dependencies.csv") else { return };
    let mut missing = BTreeSet::new();
    let mut edges = 0;
    for fields in &gates {
        let [from_word, from_mask, to_word, to_mask] = fields.as_slice() else { panic!("{fields:?}") };
        // A gate is shut when no bit of its mask is set.
        let needed = of_qemu(from_word, from_mask);
        for row in of_qemu(to_word, to_mask) {
            let all = flattened(row);
            edges += 1;
            if !needed.iter().any(|needed| all.contains(&needed.place)) {
                let names: Vec<_> = needed.iter().map(|row| row.name).collect();
                missing.insert(format!("{} needs {}", row.name, names.join(" or ")));
            }
        }
    }
    let listed = QEMU_EDGES.iter().map(|edge| format!("{} needs {}", edge.feature, edge.needs)).collect();
    assert_all_listed("gates of QEMU", &missing, &listed);
    println!("{} gates of QEMU are {edges} prerequisites of rows", gates.len());
}

/// QEMU's components and features of `x86_ext_save_areas`.
const COMPONENTS: [(&str, Component, &str, &str); 12] = [
    ("XSTATE_FP_BIT", Component::X87, "CPUID_EXT_XSAVE", "xsave"),
    ("XSTATE_SSE_BIT", Component::SSE, "CPUID_EXT_XSAVE", "xsave"),
    ("XSTATE_YMM_BIT", Component::AVX, "CPUID_EXT_AVX", "avx"),
    ("XSTATE_BNDREGS_BIT", Component::BNDREGS, "CPUID_7_0_EBX_MPX", "mpx"),
    ("XSTATE_BNDCSR_BIT", Component::BNDCSR, "CPUID_7_0_EBX_MPX", "mpx"),
    ("XSTATE_OPMASK_BIT", Component::OPMASK, "CPUID_7_0_EBX_AVX512F", "avx512f"),
    ("XSTATE_ZMM_Hi256_BIT", Component::ZMM_HI256, "CPUID_7_0_EBX_AVX512F", "avx512f"),
    ("XSTATE_Hi16_ZMM_BIT", Component::HI16_ZMM, "CPUID_7_0_EBX_AVX512F", "avx512f"),
    ("XSTATE_PKRU_BIT", Component::PKRU, "CPUID_7_0_ECX_PKU", "pku"),
    ("XSTATE_ARCH_LBR_BIT", Component::LBR, "CPUID_7_0_EDX_ARCH_LBR", "arch-lbr"),
    ("XSTATE_XTILE_CFG_BIT", Component::XTILECFG, "CPUID_7_0_EDX_AMX_TILE", "amx-tile"),
    ("XSTATE_XTILE_DATA_BIT", Component::XTILEDATA, "CPUID_7_0_EDX_AMX_TILE", "amx-tile"),
];

#[test]
fn every_save_area_of_qemu_belongs_to_the_same_feature_here() {
    let test = "every_save_area_of_qemu_belongs_to_the_same_feature_here";
    let Some(areas) = shared_csv(test, "corpus/reference/qemu_10.2.2_ext_save_areas.csv") else { return };
    assert_eq!(areas.len(), COMPONENTS.len());
    let mut theirs = BTreeSet::new();
    for fields in &areas {
        let [component, _, feature] = fields.as_slice() else { panic!("{fields:?}") };
        let known = COMPONENTS.iter().find(|row| row.0 == component && row.2 == feature);
        let Some(&(_, component, _, name)) = known else { panic!("unknown save area {fields:?}") };
        assert!(named(name).components.contains(component), "{name} does not use {component}");
        theirs.insert((name, component.index()));
    }
    for row in &FEATURES {
        for component in row.components.iter().filter(|c| !theirs.contains(&(row.name, c.index()))) {
            println!("beyond QEMU: {} uses {component}", row.name);
        }
    }
}

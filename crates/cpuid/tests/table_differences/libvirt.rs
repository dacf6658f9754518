//! Where levels and checks deliberately differ from libvirt's `cpu-baseline` and `cpu-compare`, by named rules.

/// A rule by which results differ from libvirt's.
pub(crate) struct LibvirtRule {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// What libvirt does.
    pub(crate) libvirt: &'static str,
    /// What is done here, and why.
    pub(crate) here: &'static str,
}

/// The rules.
pub(crate) static LIBVIRT_RULES: [LibvirtRule; 7] = [
    LibvirtRule {
        name: "answered-at-exit",
        about: "`osxsave` `ospke`",
        libvirt: "features like any other",
        here: "they repeat a bit of the guest's CR4 at the moment of asking; no policy holds them, no check misses them",
    },
    LibvirtRule {
        name: "needs-another",
        about: "`npt` `nrip-save` without `svm`, bits of msr 0x10a without `arch-capabilities`, `vmx-*` without `vmx`, \
                `3dnowext` without `3dnow`",
        libvirt: "kept: no feature depends on another",
        here: "a guest cannot use or read them, so what is levelled or checked is closed under prerequisites",
    },
    LibvirtRule {
        name: "needs-unnamed",
        about: "`mbm_total` `mbm_local`",
        libvirt: "kept: it names no bit for cache monitoring, which they are part of",
        here: "what nobody named is not there, and so they are not; no hypervisor gives them to guests",
    },
    LibvirtRule {
        name: "one-host-is-enough",
        about: "features of relation `any`, such as `md-clear`, `fb-clear`, `rsba`",
        libvirt: "AND",
        here: "AND for kind kvm, with a warning that names the hosts which need them; OR for Xen's kinds as far as the \
               offer is *anywhere*",
    },
    LibvirtRule {
        name: "state-of-features",
        about: "leaf 0xD, maxphysaddr, highest leaves",
        libvirt: "not part of a baseline, or of a comparison",
        here: "built from the features and levelled with them; a guest that would need another layout is refused",
    },
    LibvirtRule {
        name: "unknown-is-told",
        about: "names of features that nobody knows",
        libvirt: "an error in every element",
        here: "an error where a guest asks for one; a finding where a host offers one, which is left out",
    },
    LibvirtRule {
        name: "hardware-is-not-offer",
        about: "raw dumps",
        libvirt: "the CPU of `virsh capabilities` is what CPUID says, with bits that no guest is given",
        here: "a named CPU is taken at its word as what guests are given; a raw dump goes through the table first",
    },
];

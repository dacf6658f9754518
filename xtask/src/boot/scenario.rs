//! The scenarios, one row each.

/// What runs a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vehicle {
    Bochs,
    Qemu,
}

/// One run of the hypervisor.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) vehicle: Vehicle,
    pub(crate) model: &'static str,
    pub(crate) add: &'static [&'static str],
    pub(crate) remove: &'static [&'static str],
    /// What the hypervisor is told (`hypervisor/src/bin/hypervisor/parameters.rs`).
    pub(crate) parameters: &'static str,
    /// Features that the machine has and does not name.
    pub(crate) unnamed: &'static [&'static str],
    /// What its lines have to contain, in this order.
    pub(crate) says: &'static [&'static str],
    /// The administrator's words for the policy that is made on the host.
    pub(crate) trims: &'static str,
    /// Whether [`LISTING_GUEST`] is given a policy file that was made on the host, and lists what it reads.
    pub(crate) compares_cpuid: bool,
}

/// The guest that lists its CPUID.
pub(crate) const LISTING_GUEST: &str = "a";

const fn bochs(name: &'static str, model: &'static str, parameters: &'static str) -> Scenario {
    Scenario {
        name,
        vehicle: Vehicle::Bochs,
        model,
        add: &[],
        remove: &[],
        parameters,
        trims: "",
        unnamed: &[],
        says: &[],
        compares_cpuid: false,
    }
}

impl Scenario {
    const fn adding(self, add: &'static [&'static str]) -> Self {
        Self { add, ..self }
    }

    const fn on_qemu(self) -> Self {
        Self { vehicle: Vehicle::Qemu, ..self }
    }

    /// What cannot be had on these models: Bochs names BPEXT and does not have its registers, and UMIP is not there and would
    /// have to be made.
    const fn trimmed(self, trims: &'static str) -> Self {
        Self { trims, ..self }
    }

    /// What Bochs adds to models of AMD's is in leaf 0xD and in no other.
    const fn not_naming(self, unnamed: &'static [&'static str]) -> Self {
        Self { unnamed, ..self }
    }

    const fn saying(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    const fn comparing_cpuid(self) -> Self {
        Self { compares_cpuid: true, ..self }
    }
}

/// Two guests with all that the machine has, the first listing its CPUID.
const BOOT: &str = "guest a name=a seed=1 rounds=300 print=cpuid\nguest b name=b seed=2 rounds=300\n";

/// Two guests with different policies, and more rounds.
const TWO: &str = "guest a name=a seed=3 rounds=10000\n\
                   guest b cpuid=no-avx512f,no-shstk,no-ibt,no-pku name=b seed=4 rounds=10000\n";

/// A guest that uses PKRU without XCR0, beside one that has it there.
const UNGATED: &str = "guest a name=a seed=22 rounds=1000 pkru=ungated\nguest b name=b seed=23 rounds=1000\n";

/// Everything that makes a large state, on a model of AMD's.
const ALL: &[&str] = &["pku", "cet", "avx512", "avx512bw", "avx512cd", "avx512dq", "amx", "amx_int8", "amx_bf16"];

/// Of these, what has state and is not named.
const UNNAMED: &[&str] = &["pku", "shstk", "ibt", "amx-tile", "amx-int8", "amx-bf16"];

/// Every scenario.
pub(crate) static SCENARIOS: &[Scenario] = &[
    bochs("boot-sapphire-rapids", "sapphire_rapids", BOOT).comparing_cpuid(),
    bochs("boot-arrow-lake", "arrow_lake", BOOT).comparing_cpuid(),
    bochs("boot-tigerlake", "tigerlake", BOOT).comparing_cpuid(),
    bochs("boot-skylake-x", "corei7_skylake_x", BOOT).trimmed("no-umip").comparing_cpuid(),
    bochs("boot-ryzen", "ryzen", BOOT).trimmed("no-bpext,no-umip").comparing_cpuid(),
    bochs("boot-ryzen-all", "ryzen", BOOT)
        .adding(ALL)
        .not_naming(UNNAMED)
        .trimmed("no-bpext,no-umip")
        .comparing_cpuid(),
    bochs("boot-zambezi", "zambezi", BOOT).trimmed("no-umip").comparing_cpuid(),
    bochs("boot-without-xsave", "phenom_8650_toliman", BOOT).trimmed("no-umip").comparing_cpuid(),
    bochs("boot-qemu", "max", BOOT).on_qemu().comparing_cpuid(),
    // Different policies, XCR0 and XSS.
    bochs("two-guests", "sapphire_rapids", TWO),
    bochs("two-guests-svm", "ryzen", TWO).adding(ALL).not_naming(UNNAMED),
    bochs("two-guests-qemu", "max", TWO).on_qemu(),
    // The area of a guest without AMX has none of its bytes.
    bochs(
        "amx-beside-none",
        "sapphire_rapids",
        "guest amx name=amx seed=5 rounds=1000\nguest none cpuid=no-amx-tile name=none seed=6 rounds=1000\n",
    ),
    bochs(
        "moving",
        "sapphire_rapids",
        "cpus 2\nmove 3\n\
         guest a name=a seed=7 rounds=1000\n\
         guest b cpuid=no-avx512f name=b seed=8 rounds=1000\n\
         guest c cpuid=no-shstk,no-ibt name=c seed=9 rounds=1000\n",
    ),
    bochs(
        "moving-svm",
        "ryzen",
        "cpus 2\nmove 3\nguest a name=a seed=7 rounds=1000\nguest b cpuid=no-avx name=b seed=8 rounds=1000\n\
         guest c name=c seed=9 rounds=1000\n",
    ),
    // A policy changes before the first run, and with live state; what the guest has used stays.
    bochs(
        "policy-change",
        "sapphire_rapids",
        "guest a cpuid=no-avx512f,no-amx-tile name=a seed=20 rounds=2000\nguest b name=b seed=21 rounds=2000\n\
         change a 0 cpuid=no-amx-tile\nchange a 100\nchange a 200 cpuid=no-avx512f\n",
    )
    .saying(&[
        "guest a: another policy, save area 2",
        "guest a: another policy, save area 10752 bytes",
        "guest a: no other policy",
    ]),
    // CR4.PKE brings PKRU though XCR0 lacks it (XSA-220).
    bochs("ungated-pkru", "sapphire_rapids", UNGATED),
    bochs("ungated-pkru-svm", "ryzen", UNGATED).adding(ALL).not_naming(UNNAMED),
    bochs(
        "trims",
        "tigerlake",
        "guest a cpuid=no-avx512f,no-pku name=a seed=10 rounds=500\n\
         guest b cpuid=no-xsave name=b seed=11 rounds=500\n\
         guest c cpuid=no-xsaves name=c seed=12 rounds=500\n",
    ),
    // Every illegal value, and many random ones, beside a guest that must not notice. Without a timer under VMX: where an
    // interrupt comes right behind an exception of the guest, Bochs 3.1 exits with the stack of the handler and the RIP of the
    // instruction that faulted. Turns end when a guest yields.
    bochs(
        "hostile",
        "sapphire_rapids",
        "timer 4000000000\nguest bad name=bad seed=13 rounds=10 actions=100000\nguest good name=good seed=14 rounds=3000\n",
    ),
    bochs(
        "hostile-svm",
        "ryzen",
        "guest bad name=bad seed=15 rounds=10 actions=100000\nguest good name=good seed=16 rounds=3000\n",
    ),
    bochs(
        "soak",
        "corei7_skylake_x",
        "timer 5000\nguest a name=a seed=17 rounds=27000 spin=200\n\
         guest b cpuid=no-avx512f name=b seed=18 rounds=27000 spin=200\n",
    ),
];

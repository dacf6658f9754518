//! MSR 0x10A, ARCH_CAPABILITIES: what the CPU is immune to, and the controls of what it is not.
//!
//! KVM masks the host's value with a fixed list and adds what it knows of the host; the `Hardware` offers of kind kvm
//! are that list. Xen offers what its public header marks A, and lets what accumulates be set on every host.

use super::leaf_07_0_edx::{ARCH_CAPABILITIES, SPEC_CTRL};
use crate::feature::{Feature, Offer::*, Relation::*, row};
use crate::place::{Place, Word};

const LOW: Word = Word::msr_low(0x10a);
const HIGH: Word = Word::msr_high(0x10a);

pub(crate) const IBRS_ALL: Place = LOW.bit(1);
pub(crate) const FB_CLEAR: Place = LOW.bit(17);
pub(crate) const RFDS_CLEAR: Place = LOW.bit(28);
pub(crate) const RRSBA: Place = LOW.bit(19);
pub(crate) const RSBA: Place = LOW.bit(2);
pub(crate) const GDS_NO: Place = LOW.bit(26);
pub(crate) const ITS_NO: Place = HIGH.bit(30);
pub(crate) const MDS_NO: Place = LOW.bit(5);
pub(crate) const PSCHANGE_MC_NO: Place = LOW.bit(6);
pub(crate) const RDCTL_NO: Place = LOW.bit(0);
pub(crate) const RFDS_NO: Place = LOW.bit(27);
pub(crate) const SKIP_L1DFL_VMENTRY: Place = LOW.bit(3);
pub(crate) const SSB_NO: Place = LOW.bit(4);
pub(crate) const TAA_NO: Place = LOW.bit(8);
pub(crate) const PBRSB_NO: Place = LOW.bit(24);

/// The rows.
pub(crate) static ROWS: [Feature; 32] = [
    row(RDCTL_NO, "rdctl-no")
        .xen("RDCL_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to Meltdown; KVM also sets it on CPUs that Linux knows to be immune, such as all of AMD",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(IBRS_ALL, "ibrs-all")
        .xen("EIBRS")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES, SPEC_CTRL])
        .because(
            "enhanced IBRS: IA32_SPEC_CTRL.IBRS may stay set, so it means nothing without that MSR",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(RSBA, "rsba")
        .xen("RSBA")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "one host on which RETs may leave the return stack makes retpoline unsafe for the whole pool",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(SKIP_L1DFL_VMENTRY, "skip-l1dfl-vmentry")
        .xen("SKIP_L1DFL")
        .offer(Made, Never, Never, Never)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "a nested hypervisor need not flush, as KVM does, unless told never to; an i7-7600U has it from KVM alone",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(SSB_NO, "ssb-no")
        .xen("INTEL_SSB_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to speculative store bypass; KVM also sets it on CPUs that Linux knows to be immune",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(MDS_NO, "mds-no")
        .xen("MDS_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to data sampling; KVM also sets it on CPUs that Linux knows to be immune (AMD, old Atoms)",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(PSCHANGE_MC_NO, "pschange-mc-no")
        .xen("IF_PSCHANGE_MC_NO")
        .offer(Made, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "KVM splits huge pages in its own tables, so no guest can raise the machine check; made since Linux 5.6",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(7), "tsx-ctrl")
        .xen("TSX_CTRL")
        .offer(Hardware, Never, Never, Never)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "KVM switches IA32_TSX_CTRL per guest; Xen keeps the MSR and decides on TSX for the whole host",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(TAA_NO, "taa-no")
        .xen("TAA_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to TSX asynchronous abort; KVM clears it where the host hides RTM, since no RTM says as much",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(9), "mcu-ctrl")
        .xen("MCU_CTRL")
        .needs(&[ARCH_CAPABILITIES])
        .because("control of microcode updates, which only the host performs", "SDM vol. 4, table 2-2, 10AH"),
    row(LOW.bit(10), "misc-pkg-ctrl")
        .xen("MISC_PKG_CTRL")
        .needs(&[ARCH_CAPABILITIES])
        .because("announces a package-wide MSR, and a package is shared by guests", "SDM vol. 4, table 2-2, 10AH"),
    row(LOW.bit(11), "energy-filtering").xen("ENERGY_FILTERING").needs(&[ARCH_CAPABILITIES]).because(
        "a package-wide switch against power side channels; the host's choice covers all guests",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(LOW.bit(12), "doitm").xen("DOITM").needs(&[ARCH_CAPABILITIES]).because(
        "IA32_UARCH_MISC_CTL would have to be switched per vCPU, and neither KVM nor Xen does",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(LOW.bit(13), "sbdr-ssdp-no")
        .xen("SBDR_SSDP_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to one of the MMIO stale data leaks; safe to show only where every host has it",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(14), "fbsdp-no")
        .xen("FBSDP_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "no stale data from fill buffers through MMIO; safe to show only where every host has it",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(15), "psdp-no")
        .xen("PSDP_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "no stale data from primary buffers through MMIO; safe to show only where every host has it",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(16), "mcu-ext")
        .xen("MCU_EXT")
        .needs(&[ARCH_CAPABILITIES])
        .because("enumerates MSRs of microcode staging, which only the host performs", "SDM vol. 4, table 2-2, 10AH"),
    row(FB_CLEAR, "fb-clear")
        .xen("FB_CLEAR")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "VERW must clear the fill buffers somewhere in the pool; setting it elsewhere costs a harmless VERW",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(18), "fb-clear-ctrl").xen("FB_CLEAR_CTRL").needs(&[ARCH_CAPABILITIES]).because(
        "lets VERW skip the fill buffers: KVM sets that for immune guests behind their back and hides the switch",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(RRSBA, "rrsba")
        .xen("RRSBA")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .needs(&[ARCH_CAPABILITIES, IBRS_ALL])
        .because(
            "as RSBA, but limited by enhanced IBRS; Xen shows whichever of the two suits the visible EIBRS",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(20), "bhi-no")
        .xen("BHI_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to branch history injection; without it the guest clears the history or asks for BHI_DIS_S",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(21), "xapic-status").xen("XAPIC_STATUS").needs(&[ARCH_CAPABILITIES]).because(
        "tells whether firmware locked the host's APIC in x2APIC mode; a guest's APIC is virtual",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(LOW.bit(23), "ovrclk-status").xen("OVRCLK_STATUS").needs(&[ARCH_CAPABILITIES]).because(
        "reports overclocking of one machine, of no use to a guest that may move",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(PBRSB_NO, "pbrsb-no")
        .xen("PBRSB_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "no return predictions from before the barrier; a nested hypervisor may then skip its own RSB filling",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(25), "gds-ctrl").xen("GDS_CTRL").needs(&[ARCH_CAPABILITIES]).because(
        "the mitigation of gather sampling is locked by the host, which reports the outcome as GDS_NO",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(GDS_NO, "gds-no")
        .xen("GDS_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to gather sampling; KVM also sets it where microcode mitigates and the host keeps that on",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(RFDS_NO, "rfds-no")
        .xen("RFDS_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to register file sampling; KVM also sets it on CPUs that Linux knows to be immune",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(RFDS_CLEAR, "rfds-clear")
        .xen("RFDS_CLEAR")
        .relation(Any)
        .offer(Hardware, Anywhere, Anywhere, Anywhere)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "VERW must clear the register file on some Atom cores; setting it elsewhere costs a harmless VERW",
            "SDM vol. 4, table 2-2, 10AH",
        ),
    row(LOW.bit(29), "ign-umonitor")
        .xen("IGN_UMONITOR")
        .needs(&[ARCH_CAPABILITIES])
        .because("announces a bit of MCU_OPT_CTRL, an MSR that is the host's alone", "SDM vol. 4, table 2-2, 10AH"),
    row(LOW.bit(30), "mon-umon-mitg").xen("MON_UMON_MITG").needs(&[ARCH_CAPABILITIES]).because(
        "announces a mitigation bit of MCU_OPT_CTRL, an MSR that is the host's alone",
        "SDM vol. 4, table 2-2, 10AH",
    ),
    row(HIGH.bit(0), "pb-opt-ctrl")
        .xen("PB_OPT_CTRL")
        .needs(&[ARCH_CAPABILITIES])
        .because("announces an MSR that changes how IBPB works for the whole core", "SDM vol. 4, table 2-2, 10AH"),
    row(ITS_NO, "its-no")
        .xen("ITS_NO")
        .offer(Hardware, Hardware, Hardware, Hardware)
        .needs(&[ARCH_CAPABILITIES])
        .because(
            "immunity to indirect target selection; no CPU sets it: KVM makes it by Linux's list of CPUs",
            "SDM vol. 4, table 2-2, 10AH",
        ),
];

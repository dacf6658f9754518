//! Where the table deliberately says otherwise than Linux 7.2.13, `arch/x86/kernel/cpu/cpuid-deps.c`.

use super::{EdgeDifference, edge};

/// Prerequisites that Linux keeps and the table does not, by Linux's names.
pub(crate) static LINUX_EDGES: [EdgeDifference; 4] = [
    edge(
        "CMOV",
        "FXSR",
        "Pentium Pro and Crusoe have conditional moves without FXSAVE; Linux wants to switch everything off at once",
    ),
    edge("MMX", "FXSR", "Pentium MMX and Crusoe have MMX without FXSAVE, and FNSAVE keeps its registers"),
    edge(
        "AMX_TILE",
        "XFD",
        "XFD serves Linux's lazy growth of save areas; a guest whose area is final from the start needs none",
    ),
    edge(
        "SPEC_CTRL_SSBD",
        "SPEC_CTRL",
        "KVM makes Intel's SSBD bit from AMD's own alone, beside no SPEC_CTRL bit (EPYC-7502)",
    ),
];

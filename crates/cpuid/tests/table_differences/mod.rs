//! Where the table deliberately says otherwise than Xen, Linux and QEMU, and why.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod libvirt;
pub(crate) mod linux;
pub(crate) mod qemu;
pub(crate) mod xen;

/// A feature of which Xen's public header says one thing and the table another.
pub(crate) struct RowDifference {
    /// Xen's name.
    pub(crate) xen: &'static str,
    /// Xen's attribute letters.
    pub(crate) theirs: &'static str,
    /// The row's relation, and its offers to hvm, hvm-shadow and pv.
    pub(crate) ours: &'static str,
    /// Why.
    pub(crate) why: &'static str,
}

/// A prerequisite that another project keeps and the table does not.
pub(crate) struct EdgeDifference {
    /// The feature, in the other project's spelling.
    pub(crate) feature: &'static str,
    /// What it needs there.
    pub(crate) needs: &'static str,
    /// Why it does not here.
    pub(crate) why: &'static str,
}

const fn edge(feature: &'static str, needs: &'static str, why: &'static str) -> EdgeDifference {
    EdgeDifference { feature, needs, why }
}

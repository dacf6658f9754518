//! Extended state: what one CPU holds of each component, and what it remembers for the optimisations of XSAVES.

use selfsame_xstate::{Component, ComponentSet};

/// MXCSR after RESET, and what XRSTOR initialises it to (SDM vol. 1, 10.2.3).
pub const MXCSR_INIT: u32 = 0x1F80;

/// How many components there are: every number but 63.
const COMPONENTS: usize = 63;

/// The contents of all components: one number for each, whatever its size; zero is the initial configuration.
///
/// Two things of the legacy region are kept apart, because they follow rules of their own: MXCSR, and the x87 instruction
/// and data pointers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contents {
    values: [u64; COMPONENTS],
    /// MXCSR.
    pub mxcsr: u32,
    /// FIP, FDP and FOP as one number; zero is their initial value.
    pub fp_pointers: u64,
    /// Whether an x87 exception is pending that FCW does not mask.
    pub has_fp_exception: bool,
    /// FSW.ES. The CPU keeps it equal to `has_fp_exception` and ignores what an image says; software that edits an image may
    /// set one without the other (XSA-172).
    pub is_es_set: bool,
}

impl Contents {
    /// Everything in its initial configuration.
    pub const INIT: Self =
        Self { values: [0; COMPONENTS], mxcsr: MXCSR_INIT, fp_pointers: 0, has_fp_exception: false, is_es_set: false };

    /// What a component holds.
    #[must_use]
    pub fn get(&self, component: Component) -> u64 {
        self.values.get(usize::from(component.index())).copied().unwrap_or_default()
    }

    /// Changes what a component holds.
    pub fn set(&mut self, component: Component, value: u64) {
        if let Some(place) = self.values.get_mut(usize::from(component.index())) {
            *place = value;
        }
    }
}

/// Which image the registers were last loaded from: XRSTOR_INFO (SDM vol. 1, 13.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct XrstorInfo {
    pub(crate) cpl: u8,
    pub(crate) is_non_root: bool,
    pub(crate) linear: u64,
    pub(crate) xcomp_bv: u64,
}

/// The extended state of one CPU.
#[derive(Clone, Debug)]
pub(crate) struct ExtendedState {
    pub(crate) contents: Contents,
    /// XMODIFIED: what may differ from the image of `xrstor_info`.
    pub(crate) modified: ComponentSet,
    pub(crate) xrstor_info: Option<XrstorInfo>,
}

impl ExtendedState {
    /// As after RESET.
    pub(crate) const RESET: Self = Self { contents: Contents::INIT, modified: ComponentSet::ALL, xrstor_info: None };

    /// XINUSE. For SSE it looks at the XMM registers only (SDM vol. 1, 13.6).
    pub(crate) fn in_use(&self, set: ComponentSet) -> ComponentSet {
        set.iter().filter(|&component| self.is_in_use(component)).collect()
    }

    fn is_in_use(&self, component: Component) -> bool {
        let has_x87 = component == Component::X87 && (self.contents.fp_pointers != 0 || self.contents.has_fp_exception);
        self.contents.get(component) != 0 || has_x87
    }

    /// Writes a register of a component.
    pub(crate) fn write(&mut self, component: Component, value: u64) {
        self.contents.set(component, value);
        self.modified.insert(component);
    }

    /// Puts a component into its initial configuration, as XRSTOR does.
    pub(crate) fn initialise(&mut self, component: Component, keeps_fp_pointers: bool) {
        self.contents.set(component, 0);
        if component == Component::X87 {
            self.set_fp_exception(false);
            if !keeps_fp_pointers {
                self.contents.fp_pointers = 0;
            }
        }
    }

    pub(crate) fn set_fp_exception(&mut self, has_fp_exception: bool) {
        self.contents.has_fp_exception = has_fp_exception;
        self.contents.is_es_set = has_fp_exception;
    }
}

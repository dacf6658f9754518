//! What a host keeps for itself and for its guests: four configurations of one type.

use crate::{Class, ComponentSet, Format, Geometry, LayoutError, SaveMethod, Xcr0, Xcr0Refusal, Xfd, Xss, size_bytes};

/// What one kind of area may hold, and what it holds unless more is asked for.
///
/// Built by [`Configurations::new`]; the sizes follow from the sets and are never kept apart from them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Configuration {
    format: Format,
    max: ComponentSet,
    default: ComponentSet,
    max_bytes: u32,
    default_bytes: u32,
}

impl Configuration {
    fn new(
        format: Format,
        max: ComponentSet,
        default: ComponentSet,
        geometry: &Geometry,
    ) -> Result<Self, ConfigurationError> {
        let size = |set| size_bytes(format, set, |component| geometry.row(component).copied());
        Ok(Self { format, max, default, max_bytes: size(max)?, default_bytes: size(default)? })
    }

    /// Returns the format of areas of this kind.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns all that an area of this kind can hold.
    #[must_use]
    pub const fn max(&self) -> ComponentSet {
        self.max
    }

    /// Returns what an area of this kind holds without anything having been asked for; a subset of [`Configuration::max`].
    #[must_use]
    pub const fn default(&self) -> ComponentSet {
        self.default
    }

    /// Returns the size of an area with everything.
    #[must_use]
    pub const fn max_bytes(&self) -> u32 {
        self.max_bytes
    }

    /// Returns the size of an area with the default.
    #[must_use]
    pub const fn default_bytes(&self) -> u32 {
        self.default_bytes
    }
}

/// The four configurations of a host.
///
/// They differ along two lines that do not touch each other:
///
/// * **kernel or user**: kernel areas are what the CPU saves into, in the format of the [`SaveMethod`], with user and
///   supervisor components; user areas are what is handed out (signal frames, `KVM_GET_XSAVE`), in the standard format, with
///   user components only. `kernel = user + supervisor − independent`.
/// * **host or guest**: both have the same maximum. `default = max − user-dynamic`, and for the host `− kernel-dynamic`, whose
///   registers the host never moves with a task.
///
/// Components that the table calls unsupported, or does not know, are in none.
///
/// ```
/// use selfsame_xstate::{Component, Configurations, Geometry, SaveMethod};
///
/// // Milan: AVX, PKRU and shadow stacks.
/// let geometry = Geometry::read(|subleaf| match subleaf {
///     0 => [0x207, 0x240, 0x988, 0],
///     1 => [0xF, 0x240, 0x1800, 0],
///     2 => [256, 576, 0, 0],
///     9 => [8, 2432, 0, 0],
///     11 => [16, 0, 1, 0],
///     12 => [24, 0, 1, 0],
///     _ => [0; 4],
/// });
/// let configurations = Configurations::new(&geometry)?;
/// assert_eq!(configurations.method(), SaveMethod::Xsaves);
/// assert_eq!(configurations.guest_kernel().default_bytes(), 880);
/// assert_eq!(configurations.host_kernel().default_bytes(), 856, "without CET_S");
/// assert_eq!(configurations.guest_user().default_bytes(), 2440, "standard: PKRU is at 2432");
/// assert_eq!(configurations.host_xss().bits(), 0x1800, "max, not default");
/// # Ok::<(), selfsame_xstate::ConfigurationError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Configurations<'g> {
    geometry: &'g Geometry,
    method: SaveMethod,
    xcr0: Xcr0,
    host_kernel: Configuration,
    host_user: Configuration,
    guest_kernel: Configuration,
    guest_user: Configuration,
}

impl<'g> Configurations<'g> {
    /// Derives the configurations from what the CPU has.
    ///
    /// A hypervisor that wants to keep less than that narrows the geometry first ([`Geometry::restricted`]): one that gives
    /// no guest shadow stacks and has none itself saves 40 bytes an area without CET.
    ///
    /// # Errors
    ///
    /// Refuses a CPU with XSAVE but without x87 or SSE, one whose user components are no legal XCR0 together, and components
    /// without a row ([`Geometry::usable`] drops them).
    pub fn new(geometry: &'g Geometry) -> Result<Self, ConfigurationError> {
        let method = SaveMethod::of(geometry);
        let user = match method {
            SaveMethod::Fxsave => ComponentSet::LEGACY,
            SaveMethod::Xsave | SaveMethod::Xsaves => geometry.user() & ComponentSet::USER,
        };
        let missing = ComponentSet::LEGACY - user;
        if !missing.is_empty() {
            return Err(ConfigurationError::NoLegacy { missing });
        }
        let xcr0 = Xcr0::new(user.bits(), user)?;
        let supervisor = match method {
            SaveMethod::Xsaves => geometry.supervisor() & kept_supervisor_classes(),
            SaveMethod::Xsave | SaveMethod::Fxsave => ComponentSet::EMPTY,
        };
        let kernel = user | supervisor;
        let guest = |max| max - Class::UserDynamic.components();
        let host = |max| guest(max) - Class::KernelDynamic.components();
        let (kernel_format, user_format) = (method.format(), Format::Standard);
        Ok(Self {
            geometry,
            method,
            xcr0,
            host_kernel: Configuration::new(kernel_format, kernel, host(kernel), geometry)?,
            host_user: Configuration::new(user_format, user, host(user), geometry)?,
            guest_kernel: Configuration::new(kernel_format, kernel, guest(kernel), geometry)?,
            guest_user: Configuration::new(user_format, user, guest(user), geometry)?,
        })
    }

    /// Returns the geometry that all sizes follow.
    #[must_use]
    pub const fn geometry(&self) -> &'g Geometry {
        self.geometry
    }

    /// Returns the instruction that saves into kernel areas.
    #[must_use]
    pub const fn method(&self) -> SaveMethod {
        self.method
    }

    /// Returns the configuration of areas that the CPU saves tasks of the host into.
    #[must_use]
    pub const fn host_kernel(&self) -> &Configuration {
        &self.host_kernel
    }

    /// Returns the configuration of areas that the host hands to its tasks.
    #[must_use]
    pub const fn host_user(&self) -> &Configuration {
        &self.host_user
    }

    /// Returns the configuration of areas that the CPU saves guests into.
    #[must_use]
    pub const fn guest_kernel(&self) -> &Configuration {
        &self.guest_kernel
    }

    /// Returns the configuration of areas that a guest's state is handed out in.
    #[must_use]
    pub const fn guest_user(&self) -> &Configuration {
        &self.guest_user
    }

    /// Returns the host's XCR0: every user component.
    #[must_use]
    pub const fn host_xcr0(&self) -> Xcr0 {
        self.xcr0
    }

    /// Returns the supervisor components of every area; `host_xss` in the formula of [`Area`](crate::Area)s.
    #[must_use]
    pub const fn supervisor(&self) -> ComponentSet {
        self.host_kernel.max.minus(self.host_user.max)
    }

    /// Returns the components that are enabled in the host's IA32_XSS and kept in buffers of their own.
    #[must_use]
    pub const fn independent(&self) -> ComponentSet {
        match self.method {
            SaveMethod::Xsaves => self.geometry.supervisor().intersection(Class::Independent.components()),
            SaveMethod::Xsave | SaveMethod::Fxsave => ComponentSet::EMPTY,
        }
    }

    /// Returns the host's IA32_XSS: [`Configurations::supervisor`] and [`Configurations::independent`].
    ///
    /// It holds every XSS that a guest can have: what saves a guest's state runs under it.
    #[must_use]
    pub fn host_xss(&self) -> Xss {
        Xss::of_supervisor(self.supervisor() | self.independent())
    }

    /// Returns the XFD of a host's task for which `enabled` is there: every other user-dynamic component is disarmed.
    ///
    /// A component that the CPU's XFD does not cover cannot be disarmed, so it cannot grow lazily. Guests do not start with
    /// this: they start with [`Xfd::RESET`].
    #[must_use]
    pub fn task_xfd(&self, enabled: ComponentSet) -> Xfd {
        let armed = self.host_user.max & Class::UserDynamic.components() & self.geometry.xfd();
        Xfd::of_covered(armed - enabled)
    }

    /// Returns what a guest whose policy has `states` may enable in IA32_XSS, for [`wrmsr_xss`](crate::wrmsr_xss).
    #[must_use]
    pub fn permitted_xss(&self, states: ComponentSet) -> ComponentSet {
        self.host_xss().components() & states
    }
}

const fn kept_supervisor_classes() -> ComponentSet {
    Class::Supervisor.components().union(Class::KernelDynamic.components())
}

/// Why a CPU has no configurations.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// A CPU with XSAVE has x87 and SSE (SDM vol. 1, 13.3).
    #[error("leaf 0xd lacks {missing}")]
    NoLegacy {
        /// What is missing.
        missing: ComponentSet,
    },
    /// The CPU's user components contradict each other: half of a group, or APX with MPX.
    #[error("the user components of leaf 0xd cannot be enabled together")]
    IllegalXcr0(#[from] Xcr0Refusal),
    /// A component cannot be laid out.
    #[error("the components of leaf 0xd cannot be laid out")]
    Layout(#[from] LayoutError),
}

//! Who may use the large components: Linux's ladder of permissions.
//!
//! A user-dynamic component is too large to keep for everyone, so a process asks for it first. There are two words of
//! permission, one for the process's own tasks and one for its guests; the guests' is locked when the first vCPU is created,
//! because every later vCPU would otherwise differ from it. What is permitted is then *enabled* for each vCPU by its policy,
//! and only that makes areas larger.

use core::fmt;

use crate::{Area, AreaError, Class, Component, ComponentSet, Configurations, Errno, Format, Xfd, XfdErr, size_bytes};

/// `ARCH_GET_XCOMP_SUPP` of Linux's arch_prctl: what the host has ([`Permissions::supported`]).
pub const GET_SUPPORTED_CODE: u32 = 0x1021;

/// How many components Linux knows (7.3): requests for others are no requests.
const LINUX_COMPONENTS: u32 = 20;

/// Whose permission is meant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Holder {
    /// The tasks of the process.
    Tasks,
    /// The guests that the process runs.
    Guests,
}

impl Holder {
    /// Returns the arch_prctl code that reads the permission: `ARCH_GET_XCOMP_PERM`, `ARCH_GET_XCOMP_GUEST_PERM`.
    #[must_use]
    pub const fn get_code(self) -> u32 {
        match self {
            Self::Tasks => 0x1022,
            Self::Guests => 0x1024,
        }
    }

    /// Returns the arch_prctl code that asks for more: `ARCH_REQ_XCOMP_PERM`, `ARCH_REQ_XCOMP_GUEST_PERM`.
    #[must_use]
    pub const fn request_code(self) -> u32 {
        match self {
            Self::Tasks => 0x1023,
            Self::Guests => 0x1025,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tasks => "tasks",
            Self::Guests => "guests",
        })
    }
}

/// The alternate signal stacks of a process: each must take a signal frame with all that the process may use.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SignalStacks {
    /// The smallest alternate stack of any thread; `None` where no thread has one.
    pub smallest_bytes: Option<u32>,
    /// What a signal frame takes besides the area.
    pub frame_bytes: u32,
}

/// What a process may use of the host's configurations.
///
/// A clone is what a new process gets by fork, lock included; exec begins with [`Permissions::new`] again.
///
/// ```
/// use selfsame_xstate::{Component, ComponentSet, Configurations, Errno, Geometry, Permissions};
///
/// let geometry = Geometry::read(|subleaf| match subleaf {
///     0 => [0x6_0007, 0x240, 0x2B00, 0],
///     1 => [0x1F, 0x240, 0, 0],
///     2 => [256, 576, 0, 0],
///     17 => [64, 2752, 2, 0],
///     18 => [8192, 2816, 6, 0],
///     _ => [0; 4],
/// });
/// let configurations = Configurations::new(&geometry)?;
/// let policy = geometry.user();
///
/// let mut permissions = Permissions::new(configurations);
/// assert_eq!(permissions.enable(policy, ComponentSet::EMPTY).unwrap_err().errno(), Errno::EPERM);
///
/// permissions.request_for_guests(18)?;
/// permissions.lock();
/// let enabled = permissions.enable(policy, ComponentSet::EMPTY)?;
/// assert_eq!(enabled.components, Component::XTILEDATA.into());
/// assert_eq!(enabled.guest.size_bytes(), 832 + 64 + 8192);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Permissions<'g> {
    configurations: Configurations<'g>,
    tasks: ComponentSet,
    guests: ComponentSet,
    guest_lock: Lock,
}

/// Whether the first vCPU exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lock {
    Open,
    Locked,
}

impl<'g> Permissions<'g> {
    /// Begins with what needs no permission: the defaults of host and guest.
    #[must_use]
    pub const fn new(configurations: Configurations<'g>) -> Self {
        let (tasks, guests) = (configurations.host_kernel().default(), configurations.guest_kernel().default());
        Self { configurations, tasks, guests, guest_lock: Lock::Open }
    }

    /// Asks for component `index` for the tasks of the process.
    ///
    /// # Errors
    ///
    /// The first of, in this order: no such component, one that needs no permission, one that the host lacks, a signal stack
    /// that is too small. What is already permitted is no error.
    pub fn request_for_tasks(&mut self, index: u32, stacks: SignalStacks) -> Result<(), RequestError> {
        let component = self.requestable(index)?;
        if !self.tasks.contains(component) {
            let tasks = self.tasks.with(component);
            self.check_stacks(tasks, stacks).map_err(|stack| RequestError::SignalStack { component, stack })?;
            self.tasks = tasks;
        }
        Ok(())
    }

    /// Tells whether the tasks of the process may have these alternate signal stacks; before they are permitted more than the
    /// default, this rule lets all be.
    ///
    /// # Errors
    ///
    /// Refuses the smallest if it cannot take a signal frame.
    pub fn check_signal_stacks(&self, stacks: SignalStacks) -> Result<(), SignalStackTooSmall> {
        if self.tasks == self.configurations.host_kernel().default() {
            return Ok(());
        }
        self.check_stacks(self.tasks, stacks)
    }

    /// Asks for component `index` for the guests of the process.
    ///
    /// # Errors
    ///
    /// The first of, in this order: no such component, one that needs no permission, one that the host lacks, a vCPU that
    /// exists already. What is already permitted is no error, even then.
    pub fn request_for_guests(&mut self, index: u32) -> Result<(), RequestError> {
        let component = self.requestable(index)?;
        if self.guests.contains(component) {
            return Ok(());
        }
        if self.guest_lock == Lock::Locked {
            return Err(RequestError::Locked { component });
        }
        self.guests.insert(component);
        Ok(())
    }

    /// Locks the guests' permission: the first vCPU is created.
    pub const fn lock(&mut self) {
        self.guest_lock = Lock::Locked;
    }

    /// Returns the user components that a holder is permitted, as arch_prctl shows them: without supervisor components.
    #[must_use]
    pub fn permitted(&self, holder: Holder) -> ComponentSet {
        self.configurations.host_user().max() & self.word(holder)
    }

    /// Returns the user components that the host has, permitted or not; not what a guest may have.
    #[must_use]
    pub fn supported(&self) -> ComponentSet {
        self.configurations.host_user().max() | ComponentSet::LEGACY
    }

    /// Returns the user components that a guest can be offered now: those that are permitted, and only whole groups.
    ///
    /// XTILECFG without XTILEDATA is no offer: a guest that believed it would fault at XSETBV (Linux offered it before 6.4).
    #[must_use]
    pub fn offered_to_guests(&self) -> ComponentSet {
        let permitted = self.configurations.guest_user().max() & self.guests;
        if ComponentSet::AMX.is_subset_of(permitted) { permitted } else { permitted - ComponentSet::AMX }
    }

    /// Returns the size of a kernel area with all that a holder is permitted.
    #[must_use]
    pub fn kernel_bytes(&self, holder: Holder) -> u32 {
        self.size(self.configurations.method().format(), self.word(holder))
    }

    /// Returns the size of a user area with all that a holder is permitted.
    #[must_use]
    pub fn user_bytes(&self, holder: Holder) -> u32 {
        self.user_size(self.word(holder))
    }

    /// Enables for a vCPU what its policy needs permission for; `enabled` is what was enabled for it before.
    ///
    /// That the vCPU needs AMX is told by the states of its policy and by nothing else. What was enabled once stays enabled; an
    /// area follows policy and enabled both, so it shrinks with the policy all the same.
    ///
    /// # Errors
    ///
    /// Names what is not permitted, before what the host lacks.
    pub fn enable(&self, states: ComponentSet, enabled: ComponentSet) -> Result<Enabled<'g>, EnableError> {
        let needed = (states & Class::UserDynamic.components()) - enabled;
        let components = needed - self.guests;
        if !components.is_empty() {
            return Err(EnableError::NotPermitted { holder: Holder::Guests, components });
        }
        let components = enabled | needed;
        Ok(Enabled {
            components,
            guest: self.configurations.area(states, components)?,
            task: self.task(components)?,
            user_bytes: self.user_size(self.configurations.guest_user().default() | components).max(KVM_XSAVE_BYTES),
        })
    }

    /// Answers a task's first use of a component, which raised #NM with its bit in `used`; `enabled` is what was enabled for
    /// the task before. This is the lazy growth that XFD is for.
    ///
    /// ```
    /// use selfsame_xstate::{ComponentSet, Configurations, Geometry, Permissions, SignalStacks, XfdWrites, wrmsr_xfd_err};
    ///
    /// let geometry = Geometry::read(|subleaf| match subleaf {
    ///     0 => [0x6_0003, 0x240, 0x2B00, 0],
    ///     1 => [0x1F, 0x240, 0, 0],
    ///     17 => [64, 2752, 2, 0],
    ///     18 => [8192, 2816, 6, 0],
    ///     _ => [0; 4],
    /// });
    /// let mut permissions = Permissions::new(Configurations::new(&geometry)?);
    /// let used = wrmsr_xfd_err(1 << 18, XfdWrites::PassedThrough, &geometry)?;
    /// assert!(permissions.first_use(used, ComponentSet::EMPTY).is_err(), "SIGILL");
    ///
    /// permissions.request_for_tasks(18, SignalStacks::default())?;
    /// let task = permissions.first_use(used, ComponentSet::EMPTY)?;
    /// assert_eq!((task.area.size_bytes(), task.xfd.bits()), (576 + 64 + 8192, 0));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names what the tasks of the process are not permitted: Linux sends SIGILL for it.
    pub fn first_use(&self, used: XfdErr, enabled: ComponentSet) -> Result<Task<'g>, EnableError> {
        let components = used.components() - self.tasks;
        if !components.is_empty() {
            return Err(EnableError::NotPermitted { holder: Holder::Tasks, components });
        }
        Ok(self.task(enabled | used.components())?)
    }

    fn task(&self, enabled: ComponentSet) -> Result<Task<'g>, AreaError> {
        Ok(Task { area: self.configurations.task_area(enabled)?, xfd: self.configurations.task_xfd(enabled) })
    }

    fn requestable(&self, index: u32) -> Result<Component, RequestError> {
        let known = u8::try_from(index).ok().filter(|_| index < LINUX_COMPONENTS).and_then(Component::new);
        let component = known.ok_or(RequestError::NoComponent { index })?;
        if component.class() != Some(Class::UserDynamic) {
            return Err(RequestError::NeedsNone { component });
        }
        if !self.configurations.host_user().max().contains(component) {
            return Err(RequestError::NotOnHost { component });
        }
        Ok(component)
    }

    const fn word(&self, holder: Holder) -> ComponentSet {
        match holder {
            Holder::Tasks => self.tasks,
            Holder::Guests => self.guests,
        }
    }

    fn check_stacks(&self, tasks: ComponentSet, stacks: SignalStacks) -> Result<(), SignalStackTooSmall> {
        let needed_bytes = u64::from(stacks.frame_bytes) + u64::from(self.user_size(tasks));
        match stacks.smallest_bytes {
            Some(smallest_bytes) if u64::from(smallest_bytes) < needed_bytes => {
                Err(SignalStackTooSmall { smallest_bytes, needed_bytes })
            }
            _ => Ok(()),
        }
    }

    fn user_size(&self, set: ComponentSet) -> u32 {
        self.size(Format::Standard, set & self.configurations.host_user().max())
    }

    fn size(&self, format: Format, set: ComponentSet) -> u32 {
        let size = size_bytes(format, set, |component| self.configurations.geometry().row(component).copied());
        // The whole of it was laid out when the configurations were made, so any part can be.
        size.unwrap_or(u32::MAX)
    }
}

/// What a vCPU has after [`Permissions::enable`]: three places to keep state in grow together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Enabled<'g> {
    /// All that is enabled for the vCPU now.
    pub components: ComponentSet,
    /// The guest's area; the vCPU's own, which the CPU saves into.
    pub guest: Area<'g>,
    /// What the host keeps of the task that runs the vCPU, with what was enabled.
    pub task: Task<'g>,
    /// The size of the user area in which KVM hands the vCPU's state to that task by `KVM_GET_XSAVE2`: 4096 bytes, or more.
    pub user_bytes: u32,
}

/// The size of `struct kvm_xsave`, which no image of KVM is shorter than.
const KVM_XSAVE_BYTES: u32 = 4096;

/// What the host keeps of one of its tasks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Task<'g> {
    /// The task's area.
    pub area: Area<'g>,
    /// The task's XFD: the default without what was enabled. That of a guest starts as [`Xfd::RESET`], whatever its task has.
    pub xfd: Xfd,
}

/// Why a request for permission is refused; the variants are in the order of Linux's checks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no component with this number. Kernels before 5.16, and before 5.17 for guests, answer the same to every
    /// request.
    #[error("there is no component {index}")]
    NoComponent {
        /// The number.
        index: u32,
    },
    /// The component is there without permission.
    #[error("{component} needs no permission")]
    NeedsNone {
        /// The component.
        component: Component,
    },
    /// The host has no such component.
    #[error("the host has no {component}")]
    NotOnHost {
        /// The component.
        component: Component,
    },
    /// A vCPU exists.
    #[error("{component} was asked for after the first vcpu was created")]
    Locked {
        /// The component.
        component: Component,
    },
    /// A thread's alternate stack could not take a signal frame any more. (Linux's documentation calls the error ENOSUPP.)
    #[error("{component} does not fit the signal stacks")]
    SignalStack {
        /// The component.
        component: Component,
        /// Which stack, and what it would have to be.
        #[source]
        stack: SignalStackTooSmall,
    },
}

impl RequestError {
    /// Returns what arch_prctl answers.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoComponent { .. } => Errno::EINVAL,
            Self::NeedsNone { .. } | Self::NotOnHost { .. } => Errno::EOPNOTSUPP,
            Self::Locked { .. } => Errno::EBUSY,
            Self::SignalStack { .. } => Errno::ENOSPC,
        }
    }
}

/// An alternate signal stack that cannot take a signal frame with all that the process may use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("signal stacks need {needed_bytes} bytes, and a thread has {smallest_bytes}")]
pub struct SignalStackTooSmall {
    /// The smallest stack.
    pub smallest_bytes: u32,
    /// What every stack has to have.
    pub needed_bytes: u64,
}

impl SignalStackTooSmall {
    /// Returns what sigaltstack answers.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        Errno::ENOMEM
    }
}

/// Why a vCPU cannot have what its policy needs, or a task what it uses.
///
/// Where the kernel allocates (KVM_SET_CPUID2), another answer is EFAULT, for want of memory; here the caller allocates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnableError {
    /// The process was not permitted it.
    #[error("the {holder} of this process are not permitted {components}")]
    NotPermitted {
        /// Whose permission lacks.
        holder: Holder,
        /// All of it.
        components: ComponentSet,
    },
    /// The host cannot keep what the policy has. KVM ignores such components instead.
    #[error("the policy does not fit this host")]
    Area(#[from] AreaError),
}

impl EnableError {
    /// Returns what KVM_SET_CPUID2 answers to the first, and what a hypervisor of its own should answer to the second.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NotPermitted { .. } => Errno::EPERM,
            Self::Area(_) => Errno::EINVAL,
        }
    }
}

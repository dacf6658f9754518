//! Sets of state components.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Sub, SubAssign};

use crate::{Class, Component};

/// A set of state components, one bit each as in XCR0 and IA32_XSS (SDM vol. 1, 13.3).
///
/// A set is a plain mask until a rule is applied to it: any bits can be held, and [`ComponentSet::from_xcr0`] is the door for
/// a value meant for XCR0. Bit 63 is kept too, so that a subset test sees it, but it is no component and never iterated.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct ComponentSet(u64);

impl ComponentSet {
    /// No component.
    pub const EMPTY: Self = Self(0);
    /// Every number a component can have, 0 to 62.
    pub const ALL: Self = Self(u64::MAX >> 1);
    /// x87 and SSE, which lie in the legacy region (SDM vol. 1, 13.4.1).
    pub const LEGACY: Self = Self(0b11);
    /// The three AVX-512 components, enabled together or not at all (SDM vol. 1, 13.3).
    pub const AVX512: Self = Self(0b111 << 5);
    /// The two AMX components, enabled together or not at all (SDM vol. 1, 13.3).
    pub const AMX: Self = Self(0b11 << 17);
    /// The two MPX components, enabled together or not at all (SDM vol. 1, 13.3).
    pub const MPX: Self = Self(0b11 << 3);

    /// What the manuals put into XCR0: all of [`COMPONENTS`](crate::COMPONENTS) that are user or user-dynamic.
    pub const USER: Self = Class::User.components().union(Class::UserDynamic.components());
    /// The supervisor components that hypervisors switch for guests through IA32_XSS: shadow stacks. PT, LBR, PASID and UINTR
    /// state is switched by other means or not at all (Linux `KVM_SUPPORTED_XSS`).
    pub const GUEST_SUPERVISOR: Self = Self::EMPTY.with(Component::CET_U).with(Component::CET_S);

    /// Takes any mask as a set.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the set as a mask.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Takes a mask that comes in two halves, as CPUID, XSETBV and the XSAVE instructions have it in EDX:EAX.
    ///
    /// ```
    /// use selfsame_xstate::{Component, ComponentSet};
    ///
    /// // Subleaf 0 of CPUID leaf 0xD: EAX and EDX.
    /// let user = ComponentSet::from_halves(0x7, 0x4000_0000);
    /// assert!(user.contains(Component::LWP));
    /// assert_eq!(user.halves(), (0x7, 0x4000_0000));
    /// ```
    #[must_use]
    #[inline]
    pub const fn from_halves(low: u32, high: u32) -> Self {
        Self((high as u64) << 32 | low as u64)
    }

    /// Returns the low and the high half of the mask: EAX and EDX.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub const fn halves(self) -> (u32, u32) {
        (self.0 as u32, (self.0 >> 32) as u32)
    }

    /// Tells whether no bit is set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether `component` is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, component: Component) -> bool {
        self.0 >> component.index() & 1 == 1
    }

    /// Tells whether every bit of the set is in `other`.
    #[must_use]
    #[inline]
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns what is in either set.
    #[must_use]
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in both sets.
    #[must_use]
    #[inline]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns what is in the set and not in `other`.
    #[must_use]
    #[inline]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the set with `component` added.
    #[must_use]
    #[inline]
    pub const fn with(self, component: Component) -> Self {
        Self(self.0 | 1 << component.index())
    }

    /// Returns the set with `component` taken away.
    #[must_use]
    pub const fn without(self, component: Component) -> Self {
        Self(self.0 & !(1 << component.index()))
    }

    /// Returns the least set with all of this that can be enabled in XCR0: with x87, with SSE below AVX and AVX below AVX-512,
    /// and with the whole of AVX-512, AMX or MPX where some of it is there (SDM vol. 1, 13.3). APX next to MPX stays, and so do
    /// supervisor components.
    ///
    /// ```
    /// use selfsame_xstate::{Component, ComponentSet};
    ///
    /// let opmask = ComponentSet::from(Component::OPMASK);
    /// assert_eq!(opmask.with_partners(), ComponentSet::from_bits(0xE7));
    /// ```
    #[must_use]
    pub const fn with_partners(self) -> Self {
        let mut set = self.with(Component::X87);
        let mut rest: &[(Self, Self)] = &[
            (Self::AVX512, Self::AVX512.with(Component::AVX)),
            (Self::EMPTY.with(Component::AVX), Self::EMPTY.with(Component::SSE)),
            (Self::AMX, Self::AMX),
            (Self::MPX, Self::MPX),
        ];
        while let [(group, partners), tail @ ..] = rest {
            if !set.intersection(*group).is_empty() {
                set = set.union(*partners);
            }
            rest = tail;
        }
        set
    }

    /// Adds `component`.
    pub const fn insert(&mut self, component: Component) {
        *self = self.with(component);
    }

    /// Returns how many components are in the set.
    #[must_use]
    pub const fn count(self) -> u32 {
        (self.0 & Self::ALL.0).count_ones()
    }

    /// Returns the component with the highest number.
    #[must_use]
    pub fn last(self) -> Option<Component> {
        let top = (self.0 & Self::ALL.0).checked_ilog2()?;
        Component::new(u8::try_from(top).ok()?)
    }

    /// Iterates over the components by ascending number.
    #[inline]
    pub const fn iter(self) -> Components {
        Components(self.0 & Self::ALL.0)
    }
}

impl From<Component> for ComponentSet {
    fn from(component: Component) -> Self {
        Self::EMPTY.with(component)
    }
}

impl FromIterator<Component> for ComponentSet {
    fn from_iter<I: IntoIterator<Item = Component>>(components: I) -> Self {
        components.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl IntoIterator for ComponentSet {
    type Item = Component;
    type IntoIter = Components;

    #[inline]
    fn into_iter(self) -> Components {
        self.iter()
    }
}

impl BitOr for ComponentSet {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for ComponentSet {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for ComponentSet {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl BitAndAssign for ComponentSet {
    fn bitand_assign(&mut self, other: Self) {
        *self = self.intersection(other);
    }
}

impl Sub for ComponentSet {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        self.minus(other)
    }
}

impl SubAssign for ComponentSet {
    fn sub_assign(&mut self, other: Self) {
        *self = self.minus(other);
    }
}

/// Prints the names joined by `|`, bits without a name as one hexadecimal mask at the end, and the empty set as `none`.
impl fmt::Display for ComponentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut nameless = *self;
        let mut separator = "";
        for component in self.iter() {
            let Some(name) = component.name() else { continue };
            write!(f, "{separator}{name}")?;
            nameless = nameless.without(component);
            separator = "|";
        }
        if nameless.is_empty() { Ok(()) } else { write!(f, "{separator}{:#x}", nameless.0) }
    }
}

impl fmt::Debug for ComponentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComponentSet({:#x}: {self})", self.0)
    }
}

/// The components of a set by ascending number; made by [`ComponentSet::iter`].
#[derive(Clone, Debug)]
pub struct Components(u64);

impl Iterator for Components {
    type Item = Component;

    #[inline]
    fn next(&mut self) -> Option<Component> {
        let bits = NonZeroU64::new(self.0)?;
        self.0 &= self.0 - 1;
        Some(Component::lowest(bits))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // At most 63 bits are set.
        let count = self.0.count_ones() as usize;
        (count, Some(count))
    }
}

impl ExactSizeIterator for Components {}
impl core::iter::FusedIterator for Components {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn sets_print_names_then_nameless_bits() {
        assert_eq!(ComponentSet::EMPTY.to_string(), "none");
        assert_eq!(ComponentSet::from_bits(0x207).to_string(), "x87|sse|avx|pkru");
        assert_eq!(ComponentSet::from_bits(0x4000_0000_0000_0001).to_string(), "x87|lwp");
        assert_eq!(ComponentSet::from_bits(0x8000_0000_0010_0001).to_string(), "x87|0x8000000000100000");
        assert_eq!(ComponentSet::from_bits(1 << 42).to_string(), "0x40000000000");
        assert_eq!(format!("{:?}", ComponentSet::AMX), "ComponentSet(0x60000: xtilecfg|xtiledata)");
    }

    #[test]
    fn iteration_ascends_and_stops_before_bit_63() {
        let all = ComponentSet::from_bits(u64::MAX);
        assert!(all.iter().map(Component::index).eq(0..=62));
        assert_eq!(all.iter().len(), 63);
        assert_eq!(all.count(), 63);
        assert_eq!(ComponentSet::from_bits(1 << 63).iter().next(), None);
        assert_eq!(ComponentSet::EMPTY.iter().next(), None);
    }

    #[test]
    fn bit_63_is_kept_and_breaks_a_subset() {
        let top = ComponentSet::from_bits(1 << 63);
        assert_eq!(top.bits(), 1 << 63);
        assert!(!top.is_empty());
        assert!(!top.is_subset_of(ComponentSet::ALL));
        assert_eq!(top.last(), None);
    }

    #[test]
    fn set_algebra_is_that_of_masks() {
        let (a, b) = (ComponentSet::from_bits(0xE7), ComponentSet::from_bits(0x207));
        assert_eq!((a | b).bits(), 0x2E7);
        assert_eq!((a & b).bits(), 0x7);
        assert_eq!((a - b).bits(), 0xE0);
        assert_eq!(a - b, ComponentSet::AVX512);
        assert!(ComponentSet::LEGACY.is_subset_of(a & b));
        assert!(b.contains(Component::PKRU) && !a.contains(Component::PKRU));
        assert_eq!(a.with(Component::PKRU).without(Component::PKRU), a);
        assert_eq!(a.last(), Some(Component::HI16_ZMM));
        assert_eq!(b.iter().collect::<ComponentSet>(), b);
        let mut set = a;
        set |= b;
        set -= ComponentSet::LEGACY;
        set &= b;
        assert_eq!(set.bits(), 0x204);
    }

    #[test]
    fn halves_are_those_of_the_mask() {
        for bits in [0, 0x207, 0x8000_0000, 1 << 32, 0x4000_0000_8000_0001, u64::MAX] {
            let set = ComponentSet::from_bits(bits);
            let (low, high) = set.halves();
            assert_eq!((u64::from(high) << 32) + u64::from(low), bits);
            assert_eq!(ComponentSet::from_halves(low, high), set);
        }
    }
}

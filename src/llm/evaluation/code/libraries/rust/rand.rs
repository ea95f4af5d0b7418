//! Stand-in for the crate rand (0.4): `random`, `thread_rng`, and the trait `Rng` with `gen`, `gen_range(low, high)` and `gen_bool`.
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A value that can be drawn from 64 random bits.
pub trait Rand: Sized {
    fn of(bits: u64) -> Self;
}

/// A value that can be drawn between two others, the second left out.
pub trait Ranged: PartialOrd + Sized {
    fn between(low: Self, high: Self, bits: u64) -> Self;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Rand for $t {
            fn of(bits: u64) -> Self { bits as $t }
        }
        impl Ranged for $t {
            fn between(low: Self, high: Self, bits: u64) -> Self {
                (low as i128 + (bits as i128).rem_euclid(high as i128 - low as i128)) as $t
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

macro_rules! floats {
    ($($t:ty),*) => {$(
        impl Rand for $t {
            fn of(bits: u64) -> Self { ((bits >> 40) as f64 / (1u64 << 24) as f64) as $t }
        }
        impl Ranged for $t {
            fn between(low: Self, high: Self, bits: u64) -> Self { low + (high - low) * <$t>::of(bits) }
        }
    )*};
}
floats!(f32, f64);

impl Rand for bool {
    fn of(bits: u64) -> Self {
        bits & 1 == 1
    }
}

pub trait Rng {
    fn next_u64(&mut self) -> u64;

    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn r#gen<T: Rand>(&mut self) -> T {
        T::of(self.next_u64())
    }

    fn gen_range<T: Ranged>(&mut self, low: T, high: T) -> T {
        assert!(low < high, "gen_range: low is not below high");
        T::between(low, high, self.next_u64())
    }

    fn gen_bool(&mut self, p: f64) -> bool {
        f64::of(self.next_u64()) < p
    }
}

/// A generator of the thread (splitmix64, seeded by the standard library's own randomness).
#[derive(Clone, Debug)]
pub struct ThreadRng;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

impl Rng for ThreadRng {
    fn next_u64(&mut self) -> u64 {
        STATE.with(|state| {
            let next = state.get().wrapping_add(0x9e3779b97f4a7c15);
            state.set(next);
            let mut z = next;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
            z ^ (z >> 31)
        })
    }
}

pub fn thread_rng() -> ThreadRng {
    ThreadRng
}

pub fn random<T: Rand>() -> T {
    thread_rng().r#gen()
}

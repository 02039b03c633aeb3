//! The part of the crate rand 0.4 that tests of HumanEval-X use, on the standard library alone, the same numbers each run.

use std::cell::Cell;

thread_local!(static STATE: Cell<u64> = Cell::new(0x9E37_79B9_7F4A_7C15));

pub struct ThreadRng;

pub fn thread_rng() -> ThreadRng {
    ThreadRng
}

fn next() -> u64 {
    // xorshift64 (Marsaglia 2003)
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

pub trait Uniform: Copy {
    fn between(low: Self, high: Self, draw: u64) -> Self;
}

macro_rules! integers { ($($kind:ty),*) => { $(impl Uniform for $kind {
    fn between(low: Self, high: Self, draw: u64) -> Self {
        assert!(low < high, "Rng.gen_range called with low >= high");
        let span = (high as i128 - low as i128) as u128;
        (low as i128 + (draw as u128 % span) as i128) as $kind
    }
})* } }
integers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

macro_rules! floats { ($($kind:ty),*) => { $(impl Uniform for $kind {
    fn between(low: Self, high: Self, draw: u64) -> Self {
        low + (high - low) * ((draw >> 11) as $kind / (1u64 << 53) as $kind)
    }
})* } }
floats!(f32, f64);

pub trait Rand {
    fn from(draw: u64) -> Self;
}

macro_rules! plain { ($($kind:ty),*) => { $(impl Rand for $kind { fn from(draw: u64) -> Self { draw as $kind } })* } }
plain!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

impl Rand for bool {
    fn from(draw: u64) -> Self {
        draw & 1 == 1
    }
}
impl Rand for f64 {
    fn from(draw: u64) -> Self {
        (draw >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub trait Rng {
    fn gen_range<T: Uniform>(&mut self, low: T, high: T) -> T {
        T::between(low, high, next())
    }
    fn gen<T: Rand>(&mut self) -> T {
        T::from(next())
    }
}

impl Rng for ThreadRng {}

pub fn random<T: Rand>() -> T {
    T::from(next())
}

pub mod prelude {
    pub use super::{random, thread_rng, Rng};
}

//! The spread of values: least, greatest, mean and variance.

/// Number, least, greatest, mean and variance of values, all exact.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    count: u64,
    least: u64,
    greatest: u64,
    sum: u128,
    squares: u128,
}

impl Spread {
    /// No value yet.
    pub const fn new() -> Self {
        Self { count: 0, least: u64::MAX, greatest: 0, sum: 0, squares: 0 }
    }

    /// Adds a value.
    pub fn note(&mut self, value: u64) {
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.sum += u128::from(value);
        self.squares += u128::from(value) * u128::from(value);
    }

    /// Returns the number of values.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least.
    pub const fn least(&self) -> u64 {
        self.least
    }

    /// The greatest.
    pub const fn greatest(&self) -> u64 {
        self.greatest
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }

    /// The variance: exactly 0 if all are equal, and only then.
    pub fn variance(&self) -> f64 {
        let count = u128::from(self.count);
        (count * self.squares - self.sum * self.sum) as f64 / (count * count) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Spread {
        let mut spread = Spread::new();
        values.iter().for_each(|&value| spread.note(value));
        spread
    }

    #[test]
    fn equal_values_have_no_variance_and_one_that_differs_shows() {
        let mut values = vec![1258; 100_000];
        assert_eq!(of(&values).variance(), 0.0);
        values[5] += 1;
        let spread = of(&values);
        assert!(spread.variance() > 0.0 && spread.greatest() == 1259 && spread.least() == 1258);
    }

    #[test]
    fn the_variance_is_that_of_all_values() {
        let spread = of(&[1, 2, 3, 4]);
        assert_eq!((spread.count(), spread.mean(), spread.variance()), (4, 2.5, 1.25));
    }
}

//! Medians of many turns, and ratios turn by turn.

/// The value in the middle; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of what `ours` is of `theirs` in the same turn: turns alternate, so a machine that is slow for a while is
/// slow for both. `None` if there are no two such turns.
pub fn paired(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0])), (2.0, 4.0));
        assert!(median(Vec::new()).is_nan());
    }

    /// Where the machine changes its speed between turns, the ratio of the medians says something else.
    #[test]
    fn a_ratio_is_of_the_same_turn() {
        let (ours, theirs) = ([8.0, 16.0, 9.0, 17.0, 16.0], [80.0, 160.0, 45.0, 85.0, 160.0]);
        assert_eq!(paired(&ours, &theirs), Some(0.1));
        assert!(median(ours.to_vec()) / median(theirs.to_vec()) > 0.18);
        assert_eq!(paired(&[1.0, 2.0, 9.0], &[2.0, 0.0]), Some(0.5));
        assert_eq!((paired(&[], &[1.0]), paired(&[1.0], &[0.0])), (None, None));
    }
}

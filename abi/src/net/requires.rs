//! Features that need other features. See: VIRTIO 5.1.3.1 "Feature bit requirements".

use super::features::F;

/// A feature, and those of which it needs at least one. A feature comes after all that it needs.
const REQUIRED: [(F, F); 13] = [
    (F::GUEST_TSO4, F::GUEST_CSUM),
    (F::GUEST_TSO6, F::GUEST_CSUM),
    (F::GUEST_UFO, F::GUEST_CSUM),
    (F::GUEST_ECN, F::GUEST_TSO4.union(F::GUEST_TSO6)),
    (F::HOST_TSO4, F::CSUM),
    (F::HOST_TSO6, F::CSUM),
    (F::HOST_UFO, F::CSUM),
    (F::HOST_ECN, F::HOST_TSO4.union(F::HOST_TSO6)),
    (F::CTRL_RX, F::CTRL_VQ),
    (F::CTRL_VLAN, F::CTRL_VQ),
    (F::GUEST_ANNOUNCE, F::CTRL_VQ),
    (F::MQ, F::CTRL_VQ),
    (F::CTRL_MAC_ADDR, F::CTRL_VQ),
];

impl F {
    /// Returns these features without those that need a feature that is missing.
    pub const fn supported(self) -> Self {
        let (mut features, mut at) = (self, 0);
        while at < REQUIRED.len() {
            let (feature, needs) = REQUIRED[at];
            if !features.intersects(needs) {
                features = features.difference(feature);
            }
            at += 1;
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_goes_with_what_it_needs() {
        assert_eq!(F::all().supported(), F::all());
        for (feature, needs) in REQUIRED {
            assert!(!F::all().difference(needs).supported().contains(feature), "{feature:?} without {needs:?}");
        }
    }

    #[test]
    fn one_of_two_is_enough_and_what_is_lost_takes_others_along() {
        let ecn = F::GUEST_CSUM | F::GUEST_TSO6 | F::GUEST_ECN;
        assert_eq!(ecn.supported(), ecn);
        assert_eq!((ecn - F::GUEST_CSUM).supported(), F::empty());
    }
}

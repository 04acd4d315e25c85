//! A token bucket: so much at once, so much a second. The caller says what time it is.

use std::time::Duration;

/// What is left of an allowance that comes back with time, for pings (30 a second, 60 at once) or inflated bytes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    rate: f64,
    most: f64,
    left: f64,
    at: Duration,
}

impl Budget {
    /// A full budget: `most` at once, `rate` more each second.
    pub fn new(rate: f64, most: f64) -> Self {
        Self { rate, most, left: most, at: Duration::ZERO }
    }

    /// Spend `cost` at the time `now`, counted from any fixed moment. False: there is not that much left.
    pub fn spend(&mut self, cost: f64, now: Duration) -> bool {
        // A clock that goes back gives nothing and takes nothing.
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + elapsed * self.rate).min(self.most);
        if cost > self.left {
            return false;
        }
        self.left -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spent_and_comes_back_with_time() {
        let mut budget = Budget::new(30.0, 60.0);
        let at = Duration::from_millis;
        assert!((0..60).all(|_| budget.spend(1.0, at(0))));
        assert!(!budget.spend(1.0, at(0)));
        assert!(!budget.spend(1.0, at(20)));
        assert!(budget.spend(1.0, at(100)));
        assert!(budget.spend(1.0, at(50)), "two tokens are left of the three, whatever the clock says");
        assert!(budget.spend(60.0, at(1_000_000)), "it is full again, and no fuller");
        assert!(!budget.spend(1.0, at(1_000_000)));
    }
}

//! Variables of the process. Those of `env_file` have been read already (`load::variables`).

use super::binder::Binder;
use crate::compose::bind::At;

impl Binder<'_, '_> {
    pub(super) fn environment(&mut self, at: &At<'_>) {
        let Some(pairs) = at.key_values(self.out) else {
            return;
        };
        for (name, (value, _)) in pairs {
            // A bare name that nobody gives a value stays one, which unsets the image's.
            self.container.environment.insert(name, value);
        }
    }
}

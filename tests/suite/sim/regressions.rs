//! Seeds that failed, under the name of what they found. Each was seen to fail again with its fault put back into the
//! core; the same promises stand as readable plans in `plan`.

use super::seeds::{Length, check};

fn passes(seed: u64, length: Length) {
    check(seed..seed + 1, length, None);
}

#[test]
fn an_orphan_is_stopped_only_after_the_edge_has_let_go_of_it() {
    passes(8, Length::Short);
}

#[test]
fn a_supervisor_that_starts_without_an_engine_takes_no_route_away() {
    passes(1045, Length::Long);
}

#[test]
fn a_replica_that_serves_does_not_give_way_to_ones_that_are_only_being_born() {
    passes(32, Length::Short);
}

#[test]
fn a_created_replica_that_is_not_wanted_any_more_is_removed_and_not_stopped_for_ever() {
    passes(1, Length::Short);
}

#[test]
fn a_late_answer_does_not_bring_a_removed_replica_back() {
    passes(39, Length::Short);
}

#[test]
fn of_two_answers_that_it_is_gone_the_newer_one_counts() {
    passes(20_189, Length::Short);
}

#[test]
fn a_replica_of_an_earlier_supervisor_leaves_the_table_before_it_is_stopped() {
    passes(31, Length::Short);
}

#[test]
fn nobody_is_ready_by_what_the_next_owner_of_its_address_answers() {
    passes(1222, Length::Long);
}

#[test]
fn the_frozen_last_one_of_a_stop_first_unit_holds_no_birth_back() {
    passes(21, Length::Short);
}

#[test]
fn what_is_being_made_is_not_made_again_for_an_old_listing() {
    passes(1086, Length::Long);
}

#[test]
fn an_update_of_a_dependency_whose_old_replica_falters_meanwhile_is_one_update() {
    passes(1128, Length::Long);
}

//! The EPTP list: what it holds, and when the window can be entered by it.

use super::*;

/// The list as the processor reads it.
fn words(isolated: &Isolated) -> Vec<u64> {
    (0..Table::WORDS).map(|place| isolated.list.get(place)).collect()
}

/// Home, gate, the window at rest; no word of a guest's, whatever it registers (rule G3).
#[test]
fn the_list_holds_three_views_and_nothing_else() {
    let mut views = registered();
    let home = views.home();
    let isolated = views.isolated().unwrap();
    for cr3 in [OTHER_CR3, CR3, 0x7f_f01e] {
        isolated.register(cr3, VPID).unwrap();
        let mut wanted = vec![0; Table::WORDS];
        let window = isolated.window.pointer().0 & ADDRESS | 6;
        wanted[..3].copy_from_slice(&[home.0, isolated.gate.pointer().0, window]);
        assert_eq!(words(isolated), wanted);
        assert!(isolated.at_rest(home));
    }
    for place in [HOME, FIRST, WINDOW, 3, 511] {
        let before = isolated.list.get(place);
        isolated.list.set(place, before ^ 0x1000);
        assert!(!isolated.at_rest(home), "{place}");
        isolated.list.set(place, before);
    }
}

/// The host's bit outlives the gate's store, which a slot of 0 would not (rule G3). Nothing opens the window of a VM
/// that has not registered.
#[test]
fn a_window_that_is_disabled_can_not_be_armed() {
    let mut views = views();
    let isolated = views.isolated().unwrap();
    for held in [false, true, false] {
        assert!(!is_valid(armed(isolated)) && !isolated.is_held());
        isolated.hold(held);
    }
    isolated.register(CR3, VPID).unwrap();
    assert!(is_valid(armed(isolated)) && !isolated.is_held());
    isolated.hold(true);
    assert!(!is_valid(armed(isolated)) && isolated.is_held());
    isolated.list.set(WINDOW, armed(isolated));
    isolated.disarm(VPID);
    assert!(isolated.is_held(), "an aborted call lets nothing be opened that was not to be");
    isolated.hold(false);
    let window = isolated.window.pointer().0;
    assert_eq!((armed(isolated), isolated.list.get(WINDOW)), (window, window & ADDRESS | 6));
}

/// A call that is ended from outside leaves the window at rest and the vCPU in home, whatever it exited for (rule G9):
/// the gate's own VMCALL, and any other reason.
#[test]
fn a_call_that_is_ended_leaves_nothing_armed() {
    let mut views = registered();
    let home = views.home();
    for reason in 0..80 {
        let isolated = views.isolated().unwrap();
        isolated.list.set(WINDOW, armed(isolated));
        write(Field::EptPointer, isolated.gate.pointer().0);
        write(Field::ExitReason, reason);
        assert!(views.end_call(VPID));
        assert_eq!(read(Field::EptPointer), home.0, "exit reason {reason}");
        assert!(views.isolated().unwrap().at_rest(home), "exit reason {reason}");
    }
}

#[test]
fn places_are_told_by_the_pointer() {
    let mut views = registered();
    let home = views.home();
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| view.pointer().0);
    assert_eq!(
        [home.0, gate, window].map(|eptp| views.place(eptp)),
        [WhichView::Home, WhichView::Gate, WhichView::Window]
    );
}

/// The list is looked at where nothing of the host's changes it. Whatever it says in the crossing, the vCPU is there.
#[test]
fn a_list_that_is_not_at_rest_in_home_is_told_at_an_exit() {
    let mut views = registered();
    let home = views.home().0;
    let isolated = views.isolated().unwrap();
    let [gate, window] = [isolated.gate, isolated.window].map(|view| view.pointer().0);
    for place in [HOME, FIRST, WINDOW, 3, 511] {
        let list = views.isolated().unwrap().list;
        let before = list.get(place);
        list.set(place, if place == WINDOW { before & !0xff | u64::from(EptPointer::ARMED) } else { before ^ 0x1000 });
        assert_eq!(views.place_at_exit(home), None, "{place}");
        assert_eq!(
            [gate, window].map(|eptp| views.place_at_exit(eptp)),
            [Some(WhichView::Gate), Some(WhichView::Window)]
        );
        list.set(place, before);
        assert_eq!(views.place_at_exit(home), Some(WhichView::Home));
    }
    views.isolated().unwrap().hold(true);
    assert_eq!(views.place_at_exit(home), Some(WhichView::Home), "what is held rests");
}

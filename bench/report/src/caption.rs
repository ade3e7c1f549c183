//! Captions: what is said below a table, which is how its figures were taken.

use crate::cpu;

/// Returns the caption of the gates. `runs` is the number of runs of processes; none if instructions were counted.
pub fn gates(runs: Option<usize>) -> String {
    match runs {
        None => {
            "Counted by the emulator (Bochs, CPU model corei7_icelake_u, one processor): instructions of API, stub, \
                 gate and window inside tx_burst. They are no time; in every run they are the same."
                .into()
        }
        Some(runs) => format!(
            "Measured with the time-stamp counter on this machine ({}), sender and receiver as two processes; medians \
             of {runs} runs.",
            cpu()
        ),
    }
}

/// Returns the caption of single calls and expiries, whose unit is instructions if they were `counted`.
pub fn latency(counted: bool) -> String {
    if counted {
        return "Counted by the emulator (Bochs, CPU model corei7_icelake_u, one processor), gate isolated, the \
                monitor's instructions included. They are no time; in every run they are the same. Window: from the \
                store that arms it to the one that disarms it. Bound: latency without load, longest window of such \
                calls, and one exit."
            .into();
    }
    format!(
        "Measured on this machine ({}), gate direct: calls by the time-stamp counter, expiries by the monotonic clock, \
         their handler a thread on the sender's processor. Nothing bounds them but the system's scheduler.",
        cpu()
    )
}

/// Returns the caption of wake-ups, whose unit is instructions if they were `counted`.
pub fn wakeups(counted: bool) -> String {
    if counted {
        return "Instructions, counted by the emulator (Bochs, two processors, which take turns of a few instructions): \
                no time. Busy: the share of instructions that the receiver did not sleep for."
            .into();
    }
    format!(
        "Ticks of the time-stamp counter on this machine ({}), from before a frame is sent until it is received. \
         Sender, receiver and launcher are three processes. Told: wake-ups that the launcher gave the receiver.",
        cpu()
    )
}

/// Returns the caption of rings.
pub fn rings() -> String {
    format!(
        "Ticks of the time-stamp counter a packet, medians, on this machine ({}), 256 buffers. A ratio is the median \
         of the ratios turn by turn, so that it holds where the machine changes its speed. Two cores: ns that a cache \
         line takes to the other processor and back; rows marked ! compare nothing, their round trips differ by more \
         than a quarter.",
        cpu()
    )
}

/// Returns the caption of the flow cache.
pub fn switch() -> String {
    format!(
        "Ticks of the time-stamp counter a packet, medians of the quiet chunks, on this machine ({}), one core, bursts \
         of 32. To rte_hash: its look-up of keys of 16 bytes in pages of 4 KiB. To c: a router around it, without \
         counting. To ovs and ovs-best: Open vSwitch by default, and its fastest setting, both without what testpmd \
         takes. To alone: the same without changes or strangers' headers. To bare: without epoch, lease, time and \
         report. Ratios are medians of those chunk by chunk; to Open vSwitch, which runs apart, those of medians.",
        cpu()
    )
}

/// How the figures of a channel were taken.
pub fn channel() -> String {
    format!(
        "A packet written and read, bursts of 32, one core, one reader. Ticks of the time-stamp counter: medians of \
         the quiet chunks, on this machine ({}); ratios are medians of those chunk by chunk, with packets of the same \
         length. rte_ring has one writer and one reader, who wait for each other; elements as long as the packets, or \
         pointers to mbufs that packets are copied into and out of. A channel's packets have any length, and its \
         writer waits for nobody.",
        cpu()
    )
}

/// Returns the caption of service chains.
pub fn chain() -> String {
    format!(
        "A packet and hop, bursts of 32. Ticks of the time-stamp counter: medians of the quiet chunks, on this machine \
         ({}), one core; ratios are medians of those chunk by chunk, with frames of the same length. Instructions: of \
         hops in VMs, gate isolated, counted by the emulator (Bochs, CPU model corei7_icelake_u, one processor), with \
         the exits meanwhile.",
        cpu()
    )
}

/// Returns the caption of hops between VMs.
pub fn vms() -> String {
    format!(
        "Millions of frames a second, of all hops together, by the receivers' own counters: medians of the windows of \
         time that count, on this machine ({}), of which each row has two processors. A ratio is the median of the \
         ratios of turns of one round in which the processors were equally far apart. Through a switch a fixed number \
         of frames goes to and fro between a and b, and nobody makes or frees one; g makes frames, and b frees them.",
        cpu()
    )
}

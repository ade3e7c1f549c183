/* The frames of the library. */
#include <rte_mbuf.h>

enum { FRAMES = 256 };

/* What bench_frame made. */
extern struct rte_mbuf *bench_frames[FRAMES];

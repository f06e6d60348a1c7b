/* SPDX-License-Identifier: Apache-2.0
 *
 * Vector table and reset. MCUboot starts the image at its load address + header size, so the
 * table is the first thing behind the header. VTOR needs it aligned to its size rounded up to a
 * power of two (Armv7-M ARM, B3.2.5): that is why the sample uses a header of 0x200 bytes.
 */
#include "board.h"

extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

int main(void);
void systick_handler(void);

/* A fault, or the watchdog's first expiry: do nothing, so that its second one resets us. */
static void stop_handler(void)
{
    for (;;) {
    }
}

void reset_handler(void);

typedef void (*vector_t)(void);

__attribute__((section(".vectors"), used)) static const vector_t vectors[48] = {
    [0] = (vector_t)stack_top,
    [1] = reset_handler,
    [2] = stop_handler,  /* NMI: watchdog */
    [3] = stop_handler,  /* HardFault */
    [4] = stop_handler,  /* MemManage */
    [5] = stop_handler,  /* BusFault */
    [6] = stop_handler,  /* UsageFault */
    [11] = stop_handler, /* SVCall */
    [12] = stop_handler, /* DebugMonitor */
    [14] = stop_handler, /* PendSV */
    [15] = systick_handler,
    [16 ... 47] = stop_handler, /* no external interrupt is enabled */
};

void reset_handler(void)
{
    SCB_VTOR = (uint32_t)vectors;

    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    main();
    stop_handler();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sample firmware of a cryo-CMOS controller: keeps the amplifier's bias, plays the control pulse,
 * counts heartbeats, feeds the watchdog. Three variants, to see cryofw catch a bad release:
 *
 *   good   does its work
 *   drift  detunes the bias 20 minutes after boot: heartbeats go on, the calibration shifts
 *   hang   stops right after boot with interrupts off; only the watchdog brings it back
 */
#include "board.h"

#define VARIANT_GOOD 0
#define VARIANT_DRIFT 1
#define VARIANT_HANG 2

#define HEARTBEAT_EVERY_S 2u
#define WATCHDOG_S 4u
#define BIAS_CODE 0x2A00u

#define DRIFT_AFTER_S 1200u
#define DRIFT_RAMP_S 300u
#define DRIFT_CODES 0x180u /* costs 3 dB of readout signal-to-noise ratio */

extern const int16_t pulse[4096];

/* Read by debuggers and by people: `strings firmware.bin`. */
__attribute__((section(".version"), used)) static const char version[] =
    "cryofw sample firmware " FIRMWARE_VERSION " (" FIRMWARE_VARIANT ")";

/* What cryofw's simulated controller does when it runs this image; the real one never reads it. */
__attribute__((section(".simulation"), used)) static const char simulation[] =
    "CRYOFW-SIM\0"
#if VARIANT == VARIANT_DRIFT
    "{\"shift\":{\"metric\":\"readout_snr\",\"by\":-3.0,\"after_s\":1200,\"ramp_s\":300}}"
#elif VARIANT == VARIANT_HANG
    "{\"hang_s\":0,\"wdt\":true}"
#else
    "{}"
#endif
    ; /* the string's own NUL ends the marker */

volatile uint32_t heartbeat; /* beats since boot */
volatile uint32_t uptime_s;
static volatile uint32_t tick_ms; /* within the current second */

void systick_handler(void)
{
    if (++tick_ms == 1000u) {
        tick_ms = 0;
        uptime_s++;
    }
}

static void uart_text(const char *text)
{
    while (*text) {
        while (UART_STATE & UART_STATE_TX_FULL) {
        }
        UART_DATA = (uint8_t)*text++;
    }
}

static void uart_number(uint32_t value)
{
    char digits[11];
    char *at = &digits[10];

    *at = '\0';
    do {
        *--at = (char)('0' + value % 10u);
        value /= 10u;
    } while (value);
    uart_text(at);
}

static void watchdog_start(void)
{
    WDOG_LOCK = WDOG_UNLOCK;
    WDOG_LOAD = WATCHDOG_S * CPU_HZ;
    WDOG_CONTROL = WDOG_CONTROL_NMI_AND_RESET;
    WDOG_LOCK = 0;
}

/* The one place that feeds it: called from the main loop, so that a dead loop is noticed. */
static void watchdog_feed(void)
{
    WDOG_LOCK = WDOG_UNLOCK;
    WDOG_INTCLR = 1;
    WDOG_LOCK = 0;
}

/* The bias DAC's code at a time since boot. */
uint32_t bias_code(uint32_t at_s)
{
#if VARIANT == VARIANT_DRIFT
    if (at_s > DRIFT_AFTER_S) {
        uint32_t into_s = at_s - DRIFT_AFTER_S;
        if (into_s > DRIFT_RAMP_S) {
            into_s = DRIFT_RAMP_S;
        }
        return BIAS_CODE - DRIFT_CODES * into_s / DRIFT_RAMP_S;
    }
#else
    (void)at_s;
#endif
    return BIAS_CODE;
}

static void control_step(uint32_t at_s)
{
    FRONT_END_BIAS = bias_code(at_s);
    for (uint32_t i = 0; i < sizeof pulse / sizeof pulse[0]; i++) {
        FRONT_END_PULSE = (uint32_t)pulse[i];
    }
}

static void beat(void)
{
    heartbeat++;
    uart_text("beat ");
    uart_number(heartbeat);
    uart_text("\r\n");
}

int main(void)
{
    UART_BAUDDIV = CPU_HZ / 115200u;
    UART_CTRL = UART_CTRL_TX_ENABLE;
    uart_text(version);
    uart_text("\r\n");
    watchdog_start();

    SYST_RVR = CPU_HZ / 1000u - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7; /* processor clock, interrupt, enable */

    uint32_t done_s = 0;
    control_step(0);
#if VARIANT == VARIANT_HANG
    __asm volatile("cpsid i");
    for (;;) {
    }
#endif
    for (;;) {
        __asm volatile("wfi");
        if (uptime_s == done_s) {
            continue;
        }
        done_s = uptime_s;
        control_step(done_s);
        watchdog_feed();
        if (done_s % HEARTBEAT_EVERY_S == 0) {
            beat();
        }
    }
}

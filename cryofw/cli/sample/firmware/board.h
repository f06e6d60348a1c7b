/* SPDX-License-Identifier: Apache-2.0
 *
 * The sample controller: a Cortex-M3 as in Arm's MPS2 AN385 (CMSDK peripherals), with a cryogenic
 * front end on the expansion bus. Only what the program uses.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#define CPU_HZ 25000000u

/* Armv7-M system control space (Armv7-M ARM, B3.3) */
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SCB_VTOR (*(volatile uint32_t *)0xE000ED08u)

/* CMSDK APB UART (DDI 0479, 4.3) */
#define UART_DATA (*(volatile uint32_t *)0x40004000u)
#define UART_STATE (*(volatile uint32_t *)0x40004004u)
#define UART_CTRL (*(volatile uint32_t *)0x40004008u)
#define UART_BAUDDIV (*(volatile uint32_t *)0x40004010u)
#define UART_STATE_TX_FULL 1u
#define UART_CTRL_TX_ENABLE 1u

/* CMSDK APB watchdog (DDI 0479, 4.5): the first expiry is an NMI, the second a reset */
#define WDOG_LOAD (*(volatile uint32_t *)0x40008000u)
#define WDOG_CONTROL (*(volatile uint32_t *)0x40008008u)
#define WDOG_INTCLR (*(volatile uint32_t *)0x4000800Cu)
#define WDOG_LOCK (*(volatile uint32_t *)0x40008C00u)
#define WDOG_CONTROL_NMI_AND_RESET 3u
#define WDOG_UNLOCK 0x1ACCE551u

/* Cryogenic front end of the sample board */
#define FRONT_END_BIAS (*(volatile uint32_t *)0x48000000u)  /* amplifier bias DAC, 16 bit */
#define FRONT_END_PULSE (*(volatile uint32_t *)0x48000004u) /* control pulse DAC, signed 16 bit */

#endif

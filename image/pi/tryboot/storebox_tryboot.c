// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restarting with the argument "0 tryboot" has a Raspberry Pi's firmware start the other slot, once.
 *
 * Raspberry Pi's own kernel does this in its firmware driver (raspberrypi/linux, pull request 3937); the upstream driver,
 * and so Debian's kernel, leaves it out. The tag and the flag are from there. The upstream driver tells the firmware of
 * the restart itself when devices are shut down, which is after the notifiers: in the order that the firmware wants.
 */
#include <linux/module.h>
#include <linux/of.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <soc/bcm2835/raspberrypi-firmware.h>

#define SET_REBOOT_FLAGS 0x00038064
#define TRYBOOT 1

static int ask_firmware(void)
{
	struct device_node *node = rpi_firmware_find_node();
	struct rpi_firmware *firmware;
	u32 flags = TRYBOOT;
	int error;

	if (!node)
		return -ENODEV;
	firmware = rpi_firmware_get(node);
	of_node_put(node);
	if (!firmware)
		return -ENODEV;
	error = rpi_firmware_property(firmware, SET_REBOOT_FLAGS, &flags, sizeof(flags));
	rpi_firmware_put(firmware);
	return error;
}

static int on_restart(struct notifier_block *block, unsigned long action, void *argument)
{
	int error;

	if (action != SYS_RESTART || !argument || !strstr(argument, " tryboot"))
		return NOTIFY_DONE;
	error = ask_firmware();
	if (error)
		pr_err("storebox: the firmware does not try the other slot: error %d\n", error);
	else
		pr_notice("storebox: the firmware tries the other slot\n");
	return NOTIFY_DONE;
}

static struct notifier_block restart = { .notifier_call = on_restart };

static int __init begin(void)
{
	return register_reboot_notifier(&restart);
}
module_init(begin);

static void __exit end(void)
{
	unregister_reboot_notifier(&restart);
}
module_exit(end);

MODULE_DESCRIPTION("Starts the other slot once");
MODULE_LICENSE("GPL");

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a guest of the harness out of a vendor's cloud image: run by cloud-init early in each boot,
# with the folder in which the seed is mounted.
set -eu
seed=$1
payload=$seed/payload

# As for a guest of the harness's own: it ends when it crashes, and says what hangs.
sysctl -q -w kernel.panic=-1 kernel.panic_on_oops=1 kernel.hung_task_timeout_secs=60 \
	kernel.randomize_va_space=0 "net.ipv4.tcp_rmem=4096 65536 98304" || true
echo 1 >/sys/kernel/rcu_expedited || true
dmesg -n 5

# Where a guest of the harness's own has agent, module and its source.
# Vendors mount /run so that no program in it can be run.
mkdir -p /run/harness
mountpoint -q /run/harness || mount -t tmpfs -o mode=755 harness /run/harness
cp -r "$payload/." /run/harness/
chmod 755 /run/harness/harness-agent

# Where the drivers of targets look for modules, whatever compression the vendor uses.
for file in /run/harness/modules/*.ko /run/harness/dm-rollbaccine.ko; do
	ln -sf "$file" "/lib/modules/${file##*/}"
done
source=$(sed -n 's/^PACKAGE_NAME="\(.*\)"/\1/p' "$payload/src/dkms.conf")
ln -sfn /run/harness/src "/usr/src/$source"
modprobe -a dm-mod gcm ctr ghash-generic aesni-intel || true

# The same care for the disks under test as on a root disk of our own. Not for good: the next boot
# has to find the vendor's disks by their labels before it comes here.
full=$payload/full/etc
mkdir -p /run/udev/rules.d
cp "$full"/udev/rules.d/* /run/udev/rules.d/
while read -r rule; do
	ln -sf /dev/null "/run/udev/rules.d/$rule"
done <"$payload/masked-rules"
udevadm control --reload || true

cp "$full"/systemd/system/harness-agent.service /etc/systemd/system/
sed -i '/^After=/d' /etc/systemd/system/harness-agent.service
cp "$full"/modprobe.d/* /etc/modprobe.d/
cp "$full"/hosts "$full"/motd /etc/
usermod -p "$(cat "$payload/password")" root
while read -r timer; do
	ln -sf /dev/null "/etc/systemd/system/$timer"
done <"$payload/masked-timers"
systemctl daemon-reload
# When cloud-init is done, and with it most of what a boot does.
systemd-run --quiet --no-block --unit=harness-ready --property=After=cloud-final.service \
	systemctl start --no-block harness-agent.service

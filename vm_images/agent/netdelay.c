// SPDX-License-Identifier: Apache-2.0
/*
 * A slow link: what an interface sends waits in the guest for a while, in netem's queue, and is
 * lost with the guest. One netlink request, so that no guest needs tc for it.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DELAY_MAX_MS 10000
#define QUEUE_FRAMES 1000000 /* never the bound: a frame dropped here would only be sent again */
#define NS_PER_MS 1000000LL

struct request {
	struct nlmsghdr header;
	struct tcmsg tc;
	char attributes[256];
};

static struct rtattr *add_attribute(struct request *r, unsigned short type, const void *data,
				    size_t len)
{
	struct rtattr *at = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));

	at->rta_type = type;
	at->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(at), data, len);
	r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(at->rta_len);
	return at;
}

/* The options are the old struct, and nested behind it what came later: the delay in 64 bits. */
static void fill(struct request *r, unsigned int index, uint64_t delay_ms)
{
	struct tc_netem_qopt options = { .limit = QUEUE_FRAMES };
	int64_t delay_ns = (int64_t)delay_ms * NS_PER_MS;
	struct rtattr *nest;

	r->header.nlmsg_len = NLMSG_LENGTH(sizeof(r->tc));
	r->header.nlmsg_type = RTM_NEWQDISC;
	r->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	r->tc.tcm_family = AF_UNSPEC;
	r->tc.tcm_ifindex = (int)index;
	r->tc.tcm_parent = TC_H_ROOT;
	add_attribute(r, TCA_KIND, "netem", sizeof("netem"));
	nest = add_attribute(r, TCA_OPTIONS, &options, sizeof(options));
	add_attribute(r, TCA_NETEM_LATENCY64, &delay_ns, sizeof(delay_ns));
	nest->rta_len = (unsigned short)((char *)r + r->header.nlmsg_len - (char *)nest);
}

/* 0, or the negative errno that the kernel answers with. */
static int transact(struct request *r)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char request[sizeof(struct request)];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = send(fd, r, r->header.nlmsg_len, 0);
	if (got >= 0)
		got = recv(fd, &answer, sizeof(answer), 0);
	if (got < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	close(fd);
	return answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EPROTO;
}

/* net-delay IF MS */
int cmd_net_delay(const struct cmd *cmd, struct buf *out)
{
	const char *name = cmd->argv[1];
	struct request r = { 0 };
	unsigned int index = if_nametoindex(name);
	uint64_t delay_ms;
	int ret;

	if (!parse_u64(cmd->argv[2], &delay_ms) || delay_ms > DELAY_MAX_MS)
		return fail_with(EINVAL, out, "delay", cmd->argv[2]);
	if (!index)
		return fail_with(ENODEV, out, "interface", name);
	fill(&r, index, delay_ms);
	ret = transact(&r);
	return ret ? fail_with(-ret, out, "netem", name) : 0;
}

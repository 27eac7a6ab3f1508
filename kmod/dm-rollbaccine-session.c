// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handshake and message authentication.  No sockets, no allocation but for the
 * two keys of a session; builds in user space too (fuzz/).
 */
#ifdef __KERNEL__
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/string.h>

#include <crypto/algapi.h>

#include <asm/byteorder.h>
#endif

#include "dm-rollbaccine-session.h"

/* What a proof or a key is for; no two uses share one. */
static const char rb_hs_connector_label[] = "rollbaccine 2 connector";
static const char rb_hs_listener_label[] = "rollbaccine 2 listener";
static const char rb_hs_session_label[] = "rollbaccine 2 session";

#define RB_KVEC(object)							\
	((struct kvec){ .iov_base = (void *)&(object),			\
			.iov_len = sizeof(object) })

static u32 rb_hs_mode(struct rb_keys *keys)
{
	return rb_keys_encrypted(keys) ? RB_HS_ENCRYPTED : 0;
}

/* Of all that was said up to the challenge. */
static int rb_hs_connector_proof(const struct rb_handshake *hs,
				 struct rb_wire_proof *ret)
{
	const struct kvec vec[] = {
		RB_KVEC(rb_hs_connector_label),
		RB_KVEC(hs->hello),
		RB_KVEC(hs->challenge),
	};

	return rb_mac_compute(rb_keys_auth(hs->keys), 0, vec, ARRAY_SIZE(vec),
			      ret->proof);
}

/* Of all that was said, and of the welcome but for the proof itself. */
static int rb_hs_listener_proof(const struct rb_handshake *hs,
				const struct rb_wire_welcome *welcome, u8 *ret)
{
	const struct kvec vec[] = {
		RB_KVEC(rb_hs_listener_label),
		RB_KVEC(hs->hello),
		RB_KVEC(hs->challenge),
		RB_KVEC(hs->proof),
		{ .iov_base = (void *)welcome,
		  .iov_len = offsetof(struct rb_wire_welcome, proof) },
	};

	return rb_mac_compute(rb_keys_auth(hs->keys), 0, vec, ARRAY_SIZE(vec),
			      ret);
}

/* ---- connector ------------------------------------------------------- */

void rb_hs_hello(struct rb_handshake *hs, struct rb_keys *keys,
		 const struct rb_hs_connector *self, u64 peer_id,
		 const u8 *nonce, struct rb_wire_hello *hello)
{
	memset(hs, 0, sizeof(*hs));
	hs->keys = keys;
	hs->side = RB_CONNECTOR;
	hs->id = self->id;
	hs->peer_id = peer_id;
	hs->step = RB_HS_START;

	memset(hello, 0, sizeof(*hello));
	hello->id = cpu_to_le64(self->id);
	hello->peer_id = cpu_to_le64(peer_id);
	hello->sectors = cpu_to_le64(self->sectors);
	hello->issued = cpu_to_le64(self->issued);
	hello->epoch = cpu_to_le32(self->epoch);
	hello->flags = cpu_to_le32(self->flags | rb_hs_mode(keys));
	hello->incarnation = cpu_to_le64(self->incarnation);
	memcpy(hello->cluster, self->cluster, RB_CLUSTER_BYTES);
	memcpy(hello->nonce, nonce, RB_NONCE_BYTES);
	hs->hello = *hello;
}

int rb_hs_prove(struct rb_handshake *hs,
		const struct rb_wire_challenge *challenge,
		struct rb_wire_proof *proof)
{
	int ret;

	memset(proof, 0, sizeof(*proof));
	if (hs->side != RB_CONNECTOR || hs->step != RB_HS_START)
		return -EBADMSG;
	if (le64_to_cpu(challenge->id) != hs->peer_id ||
	    le64_to_cpu(challenge->peer_id) != hs->id)
		return -EREMCHG;
	if (!memcmp(challenge->nonce, hs->hello.nonce, RB_NONCE_BYTES))
		return -EBADMSG;
	hs->challenge = *challenge;
	ret = rb_hs_connector_proof(hs, proof);
	if (ret)
		return ret;
	hs->proof = *proof;
	hs->step = RB_HS_PROVEN;
	return 0;
}

int rb_hs_refusal(struct rb_handshake *hs,
		  const struct rb_wire_welcome *welcome, u32 *verdict)
{
	*verdict = le32_to_cpu(welcome->verdict);
	if (hs->side != RB_CONNECTOR || hs->step != RB_HS_START)
		return -EBADMSG;
	hs->step = RB_HS_REFUSED;
	if (*verdict == RB_VERDICT_ACCEPTED || *verdict >= RB_VERDICT_COUNT)
		return -EBADMSG;
	return -ECONNREFUSED;
}

static int rb_hs_hear_listener(const struct rb_handshake *hs,
			       const struct rb_wire_welcome *welcome,
			       struct rb_hs_listener *ret)
{
	const u32 known = RB_HS_ENCRYPTED | RB_HS_EMPTY | RB_HS_INSYNC |
			  RB_HS_FAILED;

	ret->id = le64_to_cpu(welcome->id);
	ret->incarnation = le64_to_cpu(welcome->incarnation);
	ret->sectors = le64_to_cpu(welcome->sectors);
	ret->received = le64_to_cpu(welcome->received);
	ret->applied = le64_to_cpu(welcome->applied);
	ret->durable = le64_to_cpu(welcome->durable);
	ret->epoch = le32_to_cpu(welcome->epoch);
	ret->data_epoch = le32_to_cpu(welcome->data_epoch);
	ret->flags = le32_to_cpu(welcome->flags);
	memcpy(ret->cluster, welcome->cluster, RB_CLUSTER_BYTES);
	if (ret->id != hs->peer_id || (ret->flags & ~known) ||
	    (ret->flags & RB_HS_ENCRYPTED) != rb_hs_mode(hs->keys))
		return -EBADMSG;
	if (ret->applied > ret->received || ret->durable > ret->applied ||
	    ret->data_epoch > ret->epoch)
		return -EBADMSG;
	return 0;
}

int rb_hs_finish(struct rb_handshake *hs,
		 const struct rb_wire_welcome *welcome, u32 *verdict,
		 struct rb_hs_listener *peer)
{
	u8 proof[RB_PROOF_BYTES];
	int ret;

	memset(peer, 0, sizeof(*peer));
	*verdict = le32_to_cpu(welcome->verdict);
	if (hs->side != RB_CONNECTOR || hs->step != RB_HS_PROVEN)
		return -EBADMSG;
	hs->step = RB_HS_REFUSED;
	if (*verdict >= RB_VERDICT_COUNT)
		return -EBADMSG;
	/* Who has another key cannot prove that it says so. */
	if (*verdict == RB_VERDICT_KEY)
		return -ECONNREFUSED;
	ret = rb_hs_listener_proof(hs, welcome, proof);
	if (ret)
		return ret;
	if (crypto_memneq(proof, welcome->proof, RB_PROOF_BYTES))
		return -EKEYREJECTED;
	ret = rb_hs_hear_listener(hs, welcome, peer);
	if (ret) {
		memset(peer, 0, sizeof(*peer));
		return ret;
	}
	if (*verdict != RB_VERDICT_ACCEPTED)
		return -ECONNREFUSED;
	hs->step = RB_HS_DONE;
	return 0;
}

/* ---- listener -------------------------------------------------------- */

int rb_hs_challenge(struct rb_handshake *hs, struct rb_keys *keys, u64 id,
		    const struct rb_wire_hello *hello, const u8 *nonce,
		    struct rb_wire_challenge *challenge, u64 *peer_id,
		    u32 *verdict)
{
	const u32 known = RB_HS_ENCRYPTED | RB_HS_EMPTY | RB_HS_CANDIDATE |
			  RB_HS_PROBE;
	const u32 flags = le32_to_cpu(hello->flags);

	memset(hs, 0, sizeof(*hs));
	memset(challenge, 0, sizeof(*challenge));
	hs->keys = keys;
	hs->side = RB_LISTENER;
	hs->step = RB_HS_REFUSED;
	hs->id = id;
	hs->peer_id = le64_to_cpu(hello->id);
	*peer_id = hs->peer_id;
	*verdict = RB_VERDICT_ACCEPTED;
	if ((flags & ~known) || !hello->epoch)
		return -EBADMSG;
	if (!hs->peer_id || hs->peer_id == id ||
	    le64_to_cpu(hello->peer_id) != id) {
		*verdict = RB_VERDICT_IDENTITY;
		return -ECONNREFUSED;
	}
	if ((flags & RB_HS_ENCRYPTED) != rb_hs_mode(keys)) {
		*verdict = RB_VERDICT_MODE;
		return -ECONNREFUSED;
	}
	challenge->id = cpu_to_le64(id);
	challenge->peer_id = hello->id;
	memcpy(challenge->nonce, nonce, RB_NONCE_BYTES);
	hs->hello = *hello;
	hs->challenge = *challenge;
	hs->step = RB_HS_GREETED;
	return 0;
}

int rb_hs_check_proof(struct rb_handshake *hs,
		      const struct rb_wire_proof *proof,
		      struct rb_hs_connector *peer)
{
	const struct rb_wire_hello *hello = &hs->hello;
	struct rb_wire_proof expected;
	int ret;

	memset(peer, 0, sizeof(*peer));
	if (hs->side != RB_LISTENER || hs->step != RB_HS_GREETED)
		return -EBADMSG;
	hs->step = RB_HS_REFUSED;
	ret = rb_hs_connector_proof(hs, &expected);
	if (ret)
		return ret;
	if (crypto_memneq(expected.proof, proof->proof, RB_PROOF_BYTES))
		return -EKEYREJECTED;
	hs->proof = *proof;
	hs->step = RB_HS_PROVEN;
	peer->id = le64_to_cpu(hello->id);
	peer->incarnation = le64_to_cpu(hello->incarnation);
	peer->sectors = le64_to_cpu(hello->sectors);
	peer->issued = le64_to_cpu(hello->issued);
	peer->epoch = le32_to_cpu(hello->epoch);
	peer->flags = le32_to_cpu(hello->flags);
	memcpy(peer->cluster, hello->cluster, RB_CLUSTER_BYTES);
	return 0;
}

int rb_hs_welcome(struct rb_handshake *hs, enum rb_wire_verdict verdict,
		  const struct rb_hs_listener *self,
		  struct rb_wire_welcome *welcome)
{
	int ret;

	memset(welcome, 0, sizeof(*welcome));
	if (hs->side != RB_LISTENER || hs->step != RB_HS_PROVEN)
		return -EPROTO;
	welcome->verdict = cpu_to_le32(verdict);
	welcome->flags = cpu_to_le32(self->flags | rb_hs_mode(hs->keys));
	welcome->id = cpu_to_le64(self->id);
	welcome->sectors = cpu_to_le64(self->sectors);
	welcome->incarnation = cpu_to_le64(self->incarnation);
	welcome->received = cpu_to_le64(self->received);
	welcome->applied = cpu_to_le64(self->applied);
	welcome->durable = cpu_to_le64(self->durable);
	welcome->epoch = cpu_to_le32(self->epoch);
	welcome->data_epoch = cpu_to_le32(self->data_epoch);
	memcpy(welcome->cluster, self->cluster, RB_CLUSTER_BYTES);
	ret = rb_hs_listener_proof(hs, welcome, welcome->proof);
	hs->step = ret || verdict != RB_VERDICT_ACCEPTED ? RB_HS_REFUSED :
							   RB_HS_DONE;
	return ret;
}

void rb_hs_refuse(enum rb_wire_verdict verdict, struct rb_wire_welcome *welcome)
{
	memset(welcome, 0, sizeof(*welcome));
	welcome->verdict = cpu_to_le32(verdict);
}

/* ---- session --------------------------------------------------------- */

static int rb_flow_start(struct rb_flow *flow, const struct rb_handshake *hs,
			 const u8 *transcript, enum rb_wire_side from)
{
	u8 context[RB_HASH_BYTES + 1];
	struct rb_mac *mac;

	memcpy(context, transcript, RB_HASH_BYTES);
	context[RB_HASH_BYTES] = from;
	mac = rb_mac_create(hs->keys, RB_MAC_SESSION, context, sizeof(context));
	if (IS_ERR(mac))
		return PTR_ERR(mac);
	flow->mac = mac;
	return 0;
}

int rb_session_start(struct rb_session *session, const struct rb_handshake *hs)
{
	const enum rb_wire_side other = hs->side == RB_CONNECTOR ?
					RB_LISTENER : RB_CONNECTOR;
	const struct kvec vec[] = {
		RB_KVEC(rb_hs_session_label),
		RB_KVEC(hs->hello),
		RB_KVEC(hs->challenge),
		RB_KVEC(hs->proof),
	};
	u8 transcript[RB_HASH_BYTES];
	int ret;

	memset(session, 0, sizeof(*session));
	if (hs->step != RB_HS_DONE)
		return -EPROTO;
	rb_hash(vec, ARRAY_SIZE(vec), transcript);
	ret = rb_flow_start(&session->tx, hs, transcript, hs->side);
	if (!ret)
		ret = rb_flow_start(&session->rx, hs, transcript, other);
	if (ret)
		rb_session_end(session);
	return ret;
}

void rb_session_end(struct rb_session *session)
{
	rb_mac_destroy(session->tx.mac);
	rb_mac_destroy(session->rx.mac);
	memset(session, 0, sizeof(*session));
}

/* The MAC of the next message of a flow; after an error there is no next. */
static int rb_flow_mac(struct rb_flow *flow, const struct rb_wire_header *header,
		       const struct kvec *control, unsigned int count, u8 *ret)
{
	struct kvec vec[RB_SIGN_PIECES + 1] = {
		{ .iov_base = (void *)header,
		  .iov_len = offsetof(struct rb_wire_header, mac) },
	};
	int err;

	if (!flow->mac || flow->broken || count > RB_SIGN_PIECES)
		return -EBADMSG;
	memcpy(vec + 1, control, count * sizeof(*control));
	err = rb_mac_compute(flow->mac, flow->seq++, vec, count + 1, ret);
	if (err)
		flow->broken = true;
	return err;
}

int rb_session_sign(struct rb_session *session, struct rb_wire_header *header,
		    const struct kvec *control, unsigned int count)
{
	return rb_flow_mac(&session->tx, header, control, count, header->mac);
}

int rb_session_check(struct rb_session *session,
		     const struct rb_wire_header *header, const void *control)
{
	const struct kvec vec = {
		.iov_base = (void *)control,
		.iov_len = le32_to_cpu(header->control),
	};
	u8 mac[RB_MAC_BYTES];
	int ret;

	ret = rb_flow_mac(&session->rx, header, &vec, 1, mac);
	if (ret)
		return ret;
	if (crypto_memneq(mac, header->mac, RB_MAC_BYTES)) {
		session->rx.broken = true;
		return -EBADMSG;
	}
	return 0;
}

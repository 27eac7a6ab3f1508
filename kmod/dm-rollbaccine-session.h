/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who is at the other end, and that nothing was changed, left out, repeated or
 * put in on the way.
 *
 *	connector			listener
 *	rb_hs_hello()	  -- HELLO -->	rb_hs_challenge()
 *	rb_hs_prove()	<- CHALLENGE -
 *			  -- PROOF -->	rb_hs_check_proof()
 *					the caller finds a verdict
 *	rb_hs_finish()	 <- WELCOME --	rb_hs_welcome()
 *	rb_session_start()		rb_session_start()
 *
 * Each side sends 32 random bytes; both proofs cover all that was said before
 * them, under different labels.  A struct rb_handshake is about 400 bytes, may
 * live on a stack, and needs no clean-up: nothing is allocated for a stranger.
 * There is no forward secrecy: who learns the master key can read recordings.
 */
#ifndef DM_ROLLBACCINE_SESSION_H
#define DM_ROLLBACCINE_SESSION_H

#include "dm-rollbaccine-crypto.h"
#include "dm-rollbaccine-wire.h"

/* What a connector says of itself, and what the listener hears. */
struct rb_hs_connector {
	u64 id; /* not 0 */
	u64 incarnation;
	u64 sectors;
	u64 issued;
	u32 epoch;
	u32 flags; /* RB_HS_EMPTY, _CANDIDATE, _PROBE; ENCRYPTED is added */
	u8 cluster[RB_CLUSTER_BYTES];
};

/* What a listener says of itself, and what the connector hears. */
struct rb_hs_listener {
	u64 id; /* not 0 */
	u64 incarnation;
	u64 sectors;
	u64 received;
	u64 applied;
	u64 durable;
	u32 epoch;
	u32 data_epoch;
	u32 flags; /* RB_HS_EMPTY, _INSYNC, _FAILED; ENCRYPTED is added */
	u8 cluster[RB_CLUSTER_BYTES];
};

enum rb_hs_step {
	RB_HS_START,
	RB_HS_GREETED, /* HELLO and its answer are known */
	RB_HS_PROVEN, /* so is the PROOF */
	RB_HS_DONE,
	RB_HS_REFUSED,
};

/* The fields are nobody's business but -session's. */
struct rb_handshake {
	struct rb_keys *keys;
	enum rb_wire_side side;
	enum rb_hs_step step;
	u64 id;
	u64 peer_id;
	struct rb_wire_hello hello;
	struct rb_wire_challenge challenge;
	struct rb_wire_proof proof;
};

/* ---- connector ------------------------------------------------------- */

/**
 * rb_hs_hello() - begin
 * @hs: initialised
 * @keys: of the device
 * @self: what to say
 * @peer_id: whom we mean to talk to
 * @nonce: RB_NONCE_BYTES from get_random_bytes(), never used before
 * @hello: filled
 */
void rb_hs_hello(struct rb_handshake *hs, struct rb_keys *keys,
		 const struct rb_hs_connector *self, u64 peer_id,
		 const u8 *nonce, struct rb_wire_hello *hello);

/**
 * rb_hs_prove() - answer a challenge
 * Return: 0, -EREMCHG if someone else answered than the one meant, -EBADMSG for
 * a reflected challenge or one out of turn, or an error of the crypto API.
 */
int rb_hs_prove(struct rb_handshake *hs,
		const struct rb_wire_challenge *challenge,
		struct rb_wire_proof *proof);

/**
 * rb_hs_refusal() - read a WELCOME that came in place of a CHALLENGE
 *
 * It is not authenticated: log the verdict, believe nothing.
 *
 * Return: -ECONNREFUSED with @verdict set to something other than ACCEPTED, or
 * -EBADMSG.
 */
int rb_hs_refusal(struct rb_handshake *hs,
		  const struct rb_wire_welcome *welcome, u32 *verdict);

/**
 * rb_hs_finish() - check the listener's proof and hear its verdict
 * @hs: after rb_hs_prove()
 * @welcome: as received
 * @verdict: set on 0 and -ECONNREFUSED; RB_VERDICT_KEY is not authenticated
 * @peer: set on 0, and on an authenticated refusal (its epoch says who is
 *	fenced); all zero otherwise
 *
 * Return: 0 if accepted; -ECONNREFUSED if refused; -EKEYREJECTED for a wrong
 * proof; -EBADMSG.
 */
int rb_hs_finish(struct rb_handshake *hs,
		 const struct rb_wire_welcome *welcome, u32 *verdict,
		 struct rb_hs_listener *peer);

/* ---- listener -------------------------------------------------------- */

/**
 * rb_hs_challenge() - answer a stranger
 * @hs: initialised
 * @keys: of the device
 * @id: ours
 * @hello: as received
 * @nonce: RB_NONCE_BYTES from get_random_bytes(), never used before
 * @challenge: filled
 * @peer_id: who it claims to be, on 0
 * @verdict: why not, on -ECONNREFUSED: IDENTITY or MODE; tell it by
 *	rb_hs_refuse()
 *
 * A header of another version (-EPROTONOSUPPORT of rb_wire_decode_header())
 * is refused by rb_hs_refuse() with RB_VERDICT_VERSION.
 *
 * Return: 0, -ECONNREFUSED or -EBADMSG.
 */
int rb_hs_challenge(struct rb_handshake *hs, struct rb_keys *keys, u64 id,
		    const struct rb_wire_hello *hello, const u8 *nonce,
		    struct rb_wire_challenge *challenge, u64 *peer_id,
		    u32 *verdict);

/**
 * rb_hs_check_proof() - find out whether the stranger has the key
 * @hs: after rb_hs_challenge()
 * @proof: as received
 * @peer: what the connector said of itself: now believed
 *
 * Return: 0; -EKEYREJECTED (tell it by rb_hs_refuse(RB_VERDICT_KEY)); -EBADMSG
 * out of turn; or an error of the crypto API.
 */
int rb_hs_check_proof(struct rb_handshake *hs,
		      const struct rb_wire_proof *proof,
		      struct rb_hs_connector *peer);

/**
 * rb_hs_welcome() - accept or refuse a connector whose proof was good
 * Return: 0 or an error.
 */
int rb_hs_welcome(struct rb_handshake *hs, enum rb_wire_verdict verdict,
		  const struct rb_hs_listener *self,
		  struct rb_wire_welcome *welcome);

/* Refuse a stranger without telling anything else. */
void rb_hs_refuse(enum rb_wire_verdict verdict,
		  struct rb_wire_welcome *welcome);

/* ---- session --------------------------------------------------------- */

/* One direction: used by one thread at a time. */
struct rb_flow {
	struct rb_mac *mac;
	u64 seq;
	bool broken;
};

/* @tx and @rx are independent: one thread may send while one receives. */
struct rb_session {
	struct rb_flow tx;
	struct rb_flow rx;
};

/**
 * rb_session_start() - derive the keys of both directions
 * @session: initialised; all zero on error
 * @hs: done and accepted
 *
 * Return: 0 or an error, -EPROTO if the handshake was not completed.
 */
int rb_session_start(struct rb_session *session, const struct rb_handshake *hs);

/* Wipe both keys.  Nobody uses the session any more.  All zero is fine. */
void rb_session_end(struct rb_session *session);

/**
 * rb_session_sign() - fill the MAC of a message about to be sent
 * @session: whose tx side the caller owns
 * @header: complete but for the MAC
 * @control: header.control bytes in pieces
 * @count: pieces, at most RB_SIGN_PIECES
 *
 * Sign in the order of sending; a message signed has to be sent.
 *
 * Return: 0 or an error; the session is of no use then.
 */
#define RB_SIGN_PIECES 4
int rb_session_sign(struct rb_session *session, struct rb_wire_header *header,
		    const struct kvec *control, unsigned int count);

/**
 * rb_session_check() - check the MAC of the next message received
 * @session: whose rx side the caller owns
 * @header: as received
 * @control: header.control bytes, as announced by a header found good
 *
 * Return: 0; -EBADMSG if it is not the message that has to come next: the
 * connection is to be closed, all later calls fail as well; or an error of the
 * crypto API.
 */
int rb_session_check(struct rb_session *session,
		     const struct rb_wire_header *header, const void *control);

#endif /* DM_ROLLBACCINE_SESSION_H */

/* Ringmaster: dispatchers, workers, partitions, and Redis between them.
 *
 * Every d_step is one command or one script of Redis, or one step inside a process;
 * its name is the word behind "step:". docs/reliability/model.md maps each to its code.
 * Compile-time sizes: NW workers, NP partitions (3 jobs in all), FAULTS how many faults of the kinds
 * in KINDS may strike, MOVES plans that move a healthy partition. With ATONCE a dispatcher writes
 * what it looks at in one step: see there why nothing is lost by that.
 * Each M_* takes one guard away: see the table of mutants there.
 */
#ifndef NW
#define NW 2
#endif
#ifndef NP
#define NP 1
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef MOVES
#define MOVES 1
#endif
#ifndef KINDS
#define KINDS 1023
#endif
#define CRASH  1    /* a worker is killed, and starts again */
#define FREEZE 2    /* a live worker is evicted: it goes on until it hears of it */
#define LEAVE  4    /* a worker leaves gracefully, and starts again */
#define LEADER 8    /* the leader's lease ends: the leader is dead, or goes on */
#define MOVE   16   /* one more plan, perhaps while the last one drains */
#define HINT   32   /* control messages of a partition are lost */
#define REPLY  64   /* a read, claim or release is executed and not answered, or executed late */
#define ACK    128  /* an ack is not answered: executed, executed late, or never */
#define FAIL   256  /* a handler fails: the job goes back */
#define REVOKE 512  /* a permit of a live drainer is taken back */
#define ROLL   1024 /* Redis is replaced by an older copy of itself */
/* Until Redis was rolled back one fault is kept for that: without it the history is one of another search. */
#if KINDS & ROLL
#define MAY(k) (faults > (rolled -> 0 : 1) && (KINDS & (k)))
#else
#define MAY(k) (faults > 0 && (KINDS & (k)))
#endif

#define NJ 3
#define NONE 15                                  /* nobody; as a holder: marked for reclaim */
#define B(i) (1 << (i))
#if NP == 1
#define PART(j) 0
#define KEYS(j) ((j) == 2 -> 4 : 3)              /* jobs of the same key, as bits */
#define FIRST(p) 0
#define PJ(p) 7
#else
#define PART(j) ((j) == 2 -> 1 : 0)
#define KEYS(j) ((j) == 2 -> 4 : 3)
#define FIRST(p) ((p) == 0 -> 0 : 2)
#define PJ(p) ((p) == 0 -> 3 : 4)
#endif
#define LAST(p) ((p) == 0 -> (NP == 1 -> 2 : 1) : 2)
#define BELOW(j) (KEYS(j) & (B(j) - 1))          /* earlier jobs of the same key */

/* ---- Redis ---- */
short mem, leaving;                              /* incarnations: members, and those that are leaving */
byte owner[NP], ep[NP], plan[NP], nxt[NP];       /* owner record, plan, next job to hand out */
byte st[NJ], pc[NJ], pe[NJ];                     /* 0 new, 1 pending, 2 done; holder, and its epoch in a permit */
byte m1[NW], md[NW], mu[NW], m2[NW * NP];        /* inboxes: phase 1, drained, undrained; phase 2 (epoch) */
byte news;                                       /* workers whose change number is ahead of what they heard */
byte lead[2];                                    /* dispatcher: 0 follower, 1 leads, 2 believes that it does */
/* ---- outside of Redis ---- */
byte inc[NW];                                    /* incarnation of a worker: worker + NW * how often it joined */
byte dead, stops;                                /* workers whose process is not there; that leave */
byte runs[NW * NJ];                               /* epochs under which a worker runs a job, as bits */
byte done[NJ];
byte ghost[NW];                                  /* 1 + partition of a read that was given up and is not executed yet */
byte late, latej, latee;                         /* an ack on its way: 1 + incarnation, job, epoch */
byte faults = FAULTS, moves = MOVES;
#if KINDS & (ACK | REVOKE)
byte past[NW * NJ];                              /* of runs, those that may overlap: the permit was taken back, or only the ack is repeated */
#define RUNNING(v,j) (runs[(v) * NJ + (j)] & ~past[(v) * NJ + (j)])
#define PAST(v,j,es) past[(v) * NJ + (j)] = past[(v) * NJ + (j)] | (runs[(v) * NJ + (j)] & (es))
#else
#define RUNNING(v,j) runs[(v) * NJ + (j)]
#define PAST(v,j,es) skip
#endif
byte fresh;                                      /* dispatchers whose plan was computed from the present ring epoch */
#if KINDS & ROLL
byte cut;                                        /* workers whose reader's connection the roll-back ended */
bit kept, rolled;                                /* a copy is there; it has taken over */
#define KEPT kept
#define ROLLED rolled                            /* what completed since the copy is forgotten: order counts anew */
#else
#define KEPT false
#define ROLLED false
#endif
#if (KINDS & ROLL) && !defined(M_NO_RENEW)
bit due;                                         /* no generation has begun yet under the server that took over */
#define DUE due
#else
#define DUE false
#endif
#if (KINDS & ROLL) && defined(M_NO_RENEW)
byte heard, back;                                /* workers that heard news since the copy; that know more than Redis does */
#define HEAR heard = heard | (kept -> B(w) : 0)  /* without a copy nobody asks for it */
#define AHEAD (back & B(w))
#else
#define HEAR skip
#define AHEAD false                              /* numbers never fall */
#endif
/* A worker that is ready talks to Redis over its reader's connection: to the server that is there now, and
 * whoever connects to another server than before begins a new generation first. Acks, joins, leaves,
 * heartbeats and dispatchers have connections of their own, and may come before that. */
#if KINDS & ROLL
#define CONNECTED (!DUE && !(cut & B(w)))
#define PAGED(p) (paged & B(p))
#else
#define CONNECTED true
#define PAGED(p) true                            /* what is pending for oneself before the first page, the reset has merged */
#endif

#define IN(i) ((i) < NONE && (mem & B(i)))
#define UP(i) ((i) < NONE && (mem & B(i)) && !(leaving & B(i)))
#define ME inc[w]
#define OWN(i,p,e) (owner[p] == (i) && ep[p] == (e))
#define HOLDS(i,j,e) (st[j] == 1 && pc[j] == (i) && pe[j] == (e))
#define MARKED(j) (st[j] == 1 && pc[j] == NONE)
#define PERMIT(j) (st[j] == 1 && pe[j] != 0)
#define PERMITS ((PERMIT(0) -> 1 : 0) | (PERMIT(1) -> 2 : 0) | (PERMIT(2) -> 4 : 0))
#define MARKS ((MARKED(0) -> 1 : 0) | (MARKED(1) -> 2 : 0) | (MARKED(2) -> 4 : 0))
#define MINE1(j) (HOLDS(ME, j, 0) -> B(j) : 0)
#define MINE (MINE1(0) | MINE1(1) | MINE1(2))    /* own pending list */

/* -- what scripts share -- */
#ifdef M_PERMIT_BY_NAME
#define EPOCH(p) 1
#define PEP(e) 1
#define RUNSOF(e) 255
#else
#define EPOCH(p) ep[p]
#define PEP(e) (e)
#define RUNSOF(e) B(e)                           /* which runs a permit is for */
#endif
#define tell(box, i, p) if :: IN(i) -> box[(i) % NW] = box[(i) % NW] | B(p) :: else fi
inline flip1(j, p, keep) {                /* holders() of part_flip */
  if
  :: st[j] == 1 && PART(j) == (p) ->
     if
     :: pc[j] == owner[p] && pe[j] == 0 && ((keep) & B(j)) -> pe[j] = EPOCH(p)
#ifdef M_LOSE_PENDING
     :: pc[j] == owner[p] && pe[j] == 0 && !((keep) & B(j)) -> st[j] = 3; pc[j] = 0
#else
     :: pc[j] == owner[p] && pe[j] == 0 && !((keep) & B(j)) -> pc[j] = NONE
#endif
     :: pe[j] != 0 && !IN(pc[j]) -> pc[j] = NONE; pe[j] = 0
     :: else
     fi
#ifdef M_PERMIT_ACKED
  :: st[j] == 2 && PART(j) == (p) && ((keep) & B(j)) -> st[j] = 1; pc[j] = owner[p]; pe[j] = ep[p]
#endif
  :: else
  fi }
inline flip(p, to, keep) {
  flip1(0, p, keep); flip1(1, p, keep); flip1(2, p, keep);
  owner[p] = to; ep[p]++; assert(ep[p] < 8);
  if
  :: IN(to) ->                                   /* what an inbox still holds for an older tenure will be ignored */
     x = (to) % NW; m1[x] = m1[x] & ~B(p); md[x] = md[x] & ~B(p); mu[x] = mu[x] & ~B(p);
     m2[x * NP + (p)] = ep[p]; x = 0
  :: else
  fi }
inline settle(j, e) {                            /* a job is done */
  done[j]++;
  assert(done[j] == 1);                          /* I1 */
  assert(ROLLED || !(BELOW(j) & 1) || st[0] == 2); /* I2 */
  st[j] = 2; pc[j] = 0; pe[j] = 0 }
inline ack(i, j, e, out) {                       /* out: 1 by the owner, 2 by a drainer, 3 refused */
  if
#ifdef M_ACK_NO_EPOCH
  :: owner[PART(j)] == (i) ->
#else
  :: OWN(i, PART(j), e) ->
#endif
     out = 1; if :: st[j] == 1 -> settle(j, e) :: else fi
#ifdef M_ACK_NO_HOLDER
  :: !OWN(i, PART(j), e) && st[j] == 1 ->
#else
  :: !OWN(i, PART(j), e) && HOLDS(i, j, PEP(e)) ->
#endif
     out = 2; settle(j, e); tell(md, owner[PART(j)], PART(j))
  :: else -> out = 3
  fi }

/* -- a worker -- */
#define DEAD(v) (dead & B(v))
#define RUNE(j,e) (runs[w * NJ + (j)] & B(e))
#define RUNS(p) (((te[p] && RUNE(0, te[p])) -> 1 : 0) | ((te[p] && RUNE(1, te[p])) -> 2 : 0) | ((te[p] && RUNE(2, te[p])) -> 4 : 0))
#define stop (stops & B(w))
#define IDLE (!runs[w * NJ] && !runs[w * NJ + 1] && !runs[w * NJ + 2])
inline drop(p) {
  te[p] = 0; cur[p] = 0; kn = kn & ~PJ(p); blk = blk & ~PJ(p); snap = snap & ~PJ(p);
  gate = gate & ~B(p); open = open & ~B(p); closing = closing & ~B(p); rel = rel & ~B(p);
  again = again & ~B(p); unsure = unsure & ~B(p); paged = paged & ~B(p) }
#if KINDS & ROLL
/* Each incarnation has a reader of its own: what becomes of the connection of the last one is nothing to it. */
#ifdef M_NO_RENEW
#define FORGET cut = cut & ~B(w); heard = heard & ~B(w); back = back & ~B(w)
#else
#define FORGET cut = cut & ~B(w)
#endif
#else
#define FORGET skip
#endif
inline clear(j, es) {                            /* runs end */
#if KINDS & (ACK | REVOKE)
  past[w * NJ + (j)] = past[w * NJ + (j)] & ~(es);
#endif
  runs[w * NJ + (j)] = runs[w * NJ + (j)] & ~(es) }
inline forget() {                                /* all that an incarnation knows */
  drop(0);
#if NP > 1
  drop(1); seen[1] = 0; m2[w * NP + 1] = 0;
#endif
  seen[0] = 0; m2[w * NP] = 0; m1[w] = 0; md[w] = 0; mu[w] = 0; news = news & ~B(w);
  clear(0, runs[w * NJ]); clear(1, runs[w * NJ + 1]); clear(2, runs[w * NJ + 2]);
  FORGET; unk = 0; rd = 0; stops = stops & ~B(w); ghost[w] = 0 }
inline join() {
#ifndef M_JOIN_BY_NAME
  inc[w] = inc[w] + NW; assert(inc[w] < 15);
#endif
  mem = mem | B(ME) }
/* One page of a claim, from job f on: the first marked entry, and the permits of that moment. Only
 * what the page covered can have been claimed, so only that may free a key; x: where the page ends. */
#ifdef M_PAGE_FREES
#define COVERED(p, f) PJ(p)
#else
#define COVERED(p, f) (PJ(p) & ~(B(f) - 1) & (B(x) - 1))
#endif
#if (KINDS & ROLL) && !defined(M_CLAIM_NOT_OWN)
/* The first page of a tenure: what is pending for oneself, from an earlier one, is claimed with the rest. */
#define OWNTOO(j, p) if :: !PAGED(p) && PART(j) == (p) && HOLDS(ME, j, 0) -> pc[j] = NONE :: else fi
#else
#define OWNTOO(j, p) skip
#endif
inline page(p, f) {
  OWNTOO(0, p); OWNTOO(1, p); OWNTOO(2, p);
  x = f;
  do
  :: x <= LAST(p) && MARKED(x) -> pc[x] = ME; if :: !r -> kn = kn | B(x) :: else fi; x++; break
  :: x <= LAST(p) && !MARKED(x) -> x++
  :: x > LAST(p) -> break
  od;
  if :: !(MARKS & PJ(p) & ~(B(x) - 1)) -> x = LAST(p) + 1 :: else fi }
#ifdef M_PERMITS_IGNORED
#define TAKE(p, f) skip
#else
#define TAKE(p, f) blk = (blk & ~COVERED(p, f)) | (PERMITS & PJ(p))
#endif
inline gates(p) {                                /* settle(): jobs start from the first claimed page on */
  if :: te[p] && (paged & B(p)) && !(closing & B(p)) -> gate = gate | B(p) :: else fi }
inline passed(p) {                               /* claimed(): the pass goes on, begins anew, or is over */
  if
  :: x <= LAST(p) -> cur[p] = x + 1
  :: x > LAST(p) && ((again & B(p)) || (blk & ~PERMITS & PJ(p))) -> again = again & ~B(p); cur[p] = FIRST(p) + 1
  :: else -> cur[p] = 0; open = open | B(p)
  fi;
  if :: (closing & B(p)) && cur[p] -> cur[p] = 0; again = again | B(p) :: else fi }
inline look(p) {                                 /* undrained */
  if
#ifdef M_CLOSING_FORGETS
  :: te[p] && (closing & B(p))
#else
  :: te[p] && (closing & B(p)) -> again = again | B(p)
#endif
  :: te[p] && !(closing & B(p)) && cur[p] -> again = again | B(p)
  :: te[p] && !(closing & B(p)) && !cur[p] -> cur[p] = FIRST(p) + 1
  :: else
  fi }
inline reopen(p) {
  closing = closing & ~B(p); rel = rel & ~B(p); snap = snap & ~PJ(p);
  if :: (!(open & B(p)) || (again & B(p))) && !cur[p] -> again = again & ~B(p); cur[p] = FIRST(p) + 1 :: else fi;
  gates(p) }
/* abandon(): what failed while its release was under way is handed back under its permit */
#define GIVE(p, j) if :: te[p] && PART(j) == p && (snap & B(j)) && !RUNE(j, te[p]) && HOLDS(ME, j, te[p]) -> pc[j] = NONE; pe[j] = 0; tell(mu, owner[p], p) :: else fi
inline gain(p, e) {
  if
  :: (e) > seen[p] ->
     if :: te[p] -> GIVE(p, 0); GIVE(p, 1); GIVE(p, 2); drop(p) :: else fi;
     seen[p] = e; te[p] = e; cur[p] = FIRST(p) + 1;
     if :: stop -> closing = closing | B(p) :: else fi
  :: else
  fi }
inline records(p) {                              /* snapshotRead, for one partition; r: rejoin */
  if
  :: te[p] && !OWN(ME, p, te[p]) -> GIVE(p, 0); GIVE(p, 1); GIVE(p, 2); drop(p)
  :: else
  fi;
  if
  :: owner[p] == ME && !te[p] && ep[p] <= seen[p] -> r = 1
  :: owner[p] == ME && !te[p] && ep[p] > seen[p] -> gain(p, ep[p])
  :: else
  fi;
  if
  :: te[p] && !r ->
     unsure = unsure & ~B(p); rel = rel & ~B(p);
     if
     :: stop
     :: !stop && (plan[p] == ME || plan[p] == NONE) && (closing & B(p)) -> reopen(p)
     :: !stop && plan[p] != ME && plan[p] != NONE && !(closing & B(p)) -> closing = closing | B(p); gate = gate & ~B(p)
     :: else
     fi;
     if :: (blk & PJ(p)) && (open & B(p)) -> look(p) :: else fi
  :: else
  fi }
inline rejoin() { forget(); join() }

#define CANSTART(j) (!DEAD(w) && te[PART(j)] && (gate & B(PART(j))) && (kn & B(j)) && !(kn & BELOW(j)) && !(blk & KEYS(j)) && !(RUNS(PART(j)) & KEYS(j)))
#define OTHER(v, k, j) (RUNNING(v, k) && (KEYS(j) & B(k)) && IN(inc[v]))
#if NW == 2
#define SOMEONE(k, j) (OTHER(0, k, j) || OTHER(1, k, j))
#else
#define SOMEONE(k, j) (OTHER(0, k, j) || OTHER(1, k, j) || OTHER(2, k, j))
#endif
#define OVERLAP(j) (SOMEONE(0, j) || SOMEONE(1, j) || SOMEONE(2, j))
inline answered(j, e) {                          /* answered(): r is the store's answer */
  clear(j, B(e));
  if
  :: r == 1 && te[PART(j)] == (e) -> kn = kn & ~B(j)
#ifdef M_REFUSED_FREES
  :: r != 1 && te[PART(j)] == (e) -> kn = kn & ~B(j)
#else
  :: r != 1 && te[PART(j)] == (e) && !(rel & B(PART(j))) -> drop(PART(j)); rd = 1
#endif
  :: else
  fi }

#define LOW(j) ((runs[w * NJ + (j)] & 2) -> 1 : ((runs[w * NJ + (j)] & 4) -> 2 : ((runs[w * NJ + (j)] & 8) -> 3 : ((runs[w * NJ + (j)] & 16) -> 4 : ((runs[w * NJ + (j)] & 32) -> 5 : ((runs[w * NJ + (j)] & 64) -> 6 : 7))))))
#define HIGH(j) ((runs[w * NJ + (j)] & 128) -> 7 : ((runs[w * NJ + (j)] & 64) -> 6 : ((runs[w * NJ + (j)] & 32) -> 5 : ((runs[w * NJ + (j)] & 16) -> 4 : ((runs[w * NJ + (j)] & 8) -> 3 : ((runs[w * NJ + (j)] & 4) -> 2 : 1))))))

#define JOBSTEPS(j) \
  :: d_step { CANSTART(j) -> /* step: start */ \
       assert(ROLLED || !(BELOW(j) & 1) || st[0] == 2); assert(ROLLED || !IN(ME) || !OVERLAP(j)); \
       runs[w * NJ + j] = runs[w * NJ + j] | B(te[PART(j)]) } \
  :: d_step { runs[w * NJ + j] -> e = LOW(j); ack(ME, j, e, r); answered(j, e); r = 0; e = 0 } /* step: ack */ \
  :: d_step { runs[w * NJ + j] && HIGH(j) != LOW(j) -> e = HIGH(j); ack(ME, j, e, r); answered(j, e); r = 0; e = 0 } \
  :: d_step { runs[w * NJ + j] && MAY(ACK) -> faults--; e = LOW(j); ack(ME, j, e, r); UNANSWERED(j, e); r = 0; e = 0 } /* step: ack unanswered */ \
  :: d_step { runs[w * NJ + j] && MAY(ACK) && !late -> faults--; e = LOW(j); late = ME + 1; latej = j; latee = e; UNANSWERED(j, e); e = 0 } /* step: ack late */ \
  :: d_step { (RUNNING(w, j) & B(LOW(j))) && MAY(FAIL) -> faults--; e = LOW(j); fail(j, e); e = 0 } /* step: fail */
#ifdef M_UNANSWERED_FREES
#define UNANSWERED(j, e) r = 1; answered(j, e)
#else
#define UNANSWERED(j, e) PAST(w, j, B(e))
#endif
inline fail(j, e) {                              /* the end Failed, or HandBack */
  clear(j, B(e));
  if
  :: OWN(ME, PART(j), e) && HOLDS(ME, j, 0)      /* held on, to run again */
  :: !OWN(ME, PART(j), e) && HOLDS(ME, j, e) -> pc[j] = NONE; pe[j] = 0; tell(mu, owner[PART(j)], PART(j))
  :: else -> if :: te[PART(j)] == e && !(rel & B(PART(j))) -> drop(PART(j)); rd = 1 :: else fi
  fi }
inline took(p) {                                 /* the new read, executed */
  st[nxt[p]] = 1; pc[nxt[p]] = owner[p]; pe[nxt[p]] = 0;
  if :: !r && te[p] -> kn = kn | B(nxt[p]) :: else fi;
  nxt[p]++ }
#ifdef M_NEW_BEFORE_OWN
#define SURE true
#else
#define SURE (!unk)
#endif
#define TARGET(p) (plan[p] != ME && UP(plan[p]))
inline released(p) {                             /* the script; r: 1 flipped, 2 kept, 3 fenced */
  if
  :: !OWN(ME, p, te[p]) -> r = 3
  :: OWN(ME, p, te[p]) && TARGET(p) -> flip(p, plan[p], snap); r = 1
  :: OWN(ME, p, te[p]) && !TARGET(p) && stop && !(mem & ~leaving) -> flip(p, NONE, snap); r = 1
  :: else -> r = 2
  fi }
#define READY (!DEAD(w) && CONNECTED && !unk && !rd)
#define PARTSTEPS(p) \
  :: d_step { !DEAD(w) && CONNECTED && (m1[w] & B(p)) && !m2[w * NP + p] -> /* step: phase 1 */ \
       m1[w] = m1[w] & ~B(p); HEAR; \
       if :: te[p] && !(closing & B(p)) -> closing = closing | B(p); gate = gate & ~B(p) :: else fi } \
  :: d_step { !DEAD(w) && CONNECTED && m2[w * NP + p] -> /* step: phase 2 */ \
       HEAR; gain(p, m2[w * NP + p]); m2[w * NP + p] = 0 } \
  :: d_step { !DEAD(w) && CONNECTED && (mu[w] & B(p)) && !m2[w * NP + p] -> mu[w] = mu[w] & ~B(p); HEAR; look(p) } /* step: undrained */ \
  :: d_step { READY && (md[w] & B(p)) && !m2[w * NP + p] -> /* step: drained */ \
       md[w] = md[w] & ~B(p); HEAR; \
       if \
       :: te[p] && PAGED(p) && OWN(ME, p, te[p]) -> page(p, FIRST(p)); TAKE(p, FIRST(p)); \
            if :: (blk & ~PERMITS & PJ(p)) -> look(p) :: else fi; x = 0 \
       :: te[p] && PAGED(p) && !OWN(ME, p, te[p]) && !(rel & B(p)) -> drop(p); rd = 1 \
       :: else fi } \
  :: d_step { READY && (md[w] & B(p)) && !m2[w * NP + p] && PAGED(p) && OWN(ME, p, te[p]) && MAY(REPLY) -> /* step: drained unanswered */ \
       faults--; md[w] = md[w] & ~B(p); HEAR; r = 1; page(p, FIRST(p)); r = 0; x = 0; unk = 1; LOOKAGAIN(p) } \
  :: d_step { READY && te[p] && cur[p] -> /* step: claim */ \
       if \
       :: OWN(ME, p, te[p]) -> page(p, cur[p] - 1); TAKE(p, cur[p] - 1); paged = paged | B(p); passed(p); x = 0; gates(p) \
       :: else -> drop(p); rd = 1 \
       fi } \
  :: d_step { READY && te[p] && cur[p] && OWN(ME, p, te[p]) && MAY(REPLY) -> /* step: claim unanswered */ \
       faults--; r = 1; page(p, cur[p] - 1); r = 0; x = 0; cur[p] = FIRST(p) + 1; unk = 1; rd = 1 } \
  :: d_step { !DEAD(w) && CONNECTED && !rd && SURE && te[p] && (gate & B(p)) && (open & B(p)) && owner[p] == ME && nxt[p] <= LAST(p) -> /* step: read */ \
       took(p) } \
  :: d_step { READY && te[p] && (gate & B(p)) && (open & B(p)) && owner[p] == ME && nxt[p] <= LAST(p) && MAY(REPLY) -> /* step: read unanswered */ \
       faults--; r = 1; took(p); r = 0; unk = 1 } \
  :: d_step { READY && te[p] && (gate & B(p)) && (open & B(p)) && owner[p] == ME && nxt[p] <= LAST(p) && MAY(REPLY) && !ghost[w] -> /* step: read late */ \
       faults--; ghost[w] = p + 1; unk = 1 } \
  :: d_step { READY && te[p] && owner[p] != ME && !(rel & B(p)) -> rd = 1 } /* step: group gone */ \
  :: d_step { READY && (closing & B(p)) && !(rel & B(p)) && !cur[p] && (!stop || TARGET(p) || !(mem & ~leaving) || !OWN(ME, p, te[p])) -> /* step: close */ \
       rel = rel | B(p); snap = (snap & ~PJ(p)) | RUNS(p) } \
  :: d_step { READY && (rel & B(p)) && !(unsure & B(p)) -> /* step: release */ \
       released(p); GIVE(p, 0); GIVE(p, 1); GIVE(p, 2); \
       if \
       :: r == 1 -> drop(p) \
       :: r == 2 && stop -> rel = rel & ~B(p); snap = snap & ~PJ(p) \
       :: r == 2 && !stop -> reopen(p) \
       :: else -> drop(p); rd = 1 \
       fi; r = 0 } \
  :: d_step { READY && (rel & B(p)) && !(unsure & B(p)) && MAY(REPLY) -> /* step: release unanswered */ \
       faults--; released(p); r = 0; unsure = unsure | B(p); unk = 1; rd = 1 }
#ifdef M_DRAINED_ONCE
#define LOOKAGAIN(p) skip
#else
#define LOOKAGAIN(p) look(p)
#endif

#if NP == 1
#define MERGE ((te[0] && PAGED(0) && owner[0] == ME) -> MINE : 0)
#define NOTENURE (!te[0])
#else
#define MERGE (((te[0] && PAGED(0) && owner[0] == ME) -> (MINE & PJ(0)) : 0) | ((te[1] && PAGED(1) && owner[1] == ME) -> (MINE & PJ(1)) : 0))
#define NOTENURE (!te[0] && !te[1])
#endif
#ifdef M_NO_CHANGE_NUMBER
#define HEARD false
#elif defined(M_HEARTBEAT_IGNORES_LESS)
#define HEARD (news & B(w))
#else
#define HEARD ((news & B(w)) || AHEAD)
#endif
#ifdef M_RESET_NO_LOOK
#define LOOKATALL skip
#elif NP == 1
#define LOOKATALL look(0)
#else
#define LOOKATALL look(0); look(1)
#endif
#ifdef M_NO_KILL
#define CUT skip
#else
#define CUT ghost[w] = 0
#endif
proctype Worker(byte w) {
  byte te[NP], seen[NP], cur[NP];                /* tenure (epoch), highest epoch heard of, 1 + where the next page begins */
  byte kn, blk, snap;                            /* jobs held; known permits; running set that a release names */
  byte gate, open, paged, closing, rel, unsure, again; /* by partition */
  bit unk, rd;                                   /* a read's outcome is unknown; records are to be read */
  byte x, r, e;
  d_step {                                       /* w0 owns partition 0, w1 partition 1: open, nothing read */
    if
    :: w < NP -> te[w] = 1; seen[w] = 1; gate = B(w); open = B(w); paged = B(w)
    :: else
    fi }
end: do
  :: d_step { DEAD(w) -> /* step: join */
       dead = dead & ~B(w); join() }
  :: d_step { !DEAD(w) && !IN(ME) -> forget(); join() } /* step: fenced */
#if KINDS & ROLL
/* Lost and reset in one: what may happen between the two may as well happen before the first. */
  :: d_step { !DUE && (cut & B(w)) -> cut = cut & ~B(w); kn = kn | MERGE; unk = 0; CUT; LOOKATALL } /* step: connection lost */
#endif
  :: d_step { !DEAD(w) && !DUE && unk -> /* step: reset */
       kn = kn | MERGE; unk = 0; CUT; LOOKATALL }
  :: d_step { !DEAD(w) && CONNECTED && !unk && (rd || HEARD) && IN(ME) -> /* step: records */
       rd = 0; if :: AHEAD -> r = 1 :: !AHEAD && (news & B(w)) -> HEAR; news = news & ~B(w) :: else fi;
       if :: !r -> records(0) :: else fi;
#if NP > 1
       if :: !r -> records(1) :: else fi;
#endif
       if :: r -> rejoin() :: else fi; r = 0 }
  PARTSTEPS(0)
#if NP > 1
  PARTSTEPS(1)
#endif
  JOBSTEPS(0)
  JOBSTEPS(1)
  JOBSTEPS(2)
  :: d_step { ghost[w] && owner[ghost[w] - 1] == ME && nxt[ghost[w] - 1] <= LAST(ghost[w] - 1) -> /* step: late read */
       r = 1; x = ghost[w] - 1; took(x); x = 0; r = 0; ghost[w] = 0 }
  :: d_step { !DEAD(w) && IN(ME) && MAY(CRASH) -> faults--; forget(); dead = dead | B(w) } /* step: crash */
  :: d_step { !DEAD(w) && !stop && IN(ME) && MAY(LEAVE) -> /* step: leave */
       faults--; leaving = leaving | B(ME); stops = stops | B(w);
       if :: te[0] -> closing = closing | 1; gate = gate & ~1 :: else fi;
#if NP > 1
       if :: te[1] -> closing = closing | 2; gate = gate & ~2 :: else fi
#endif
     }
  :: d_step { !DEAD(w) && stop && NOTENURE && IDLE && IN(ME) -> /* step: left */
       mem = mem & ~B(ME); leaving = leaving & ~B(ME); forget(); dead = dead | B(w) }
  od }

/* -- a dispatcher: looks, and writes perhaps much later -- */
#ifdef M_PLAN_NO_COMPARE
#define PLANOK true
#else
#define PLANOK (lead[d] == 1 && (fresh & B(d)))
#endif
#ifdef M_STEAL_NO_COMPARE
#define STEALOK (UP(to))
#else
#define STEALOK (lead[d] == 1 && ep[p] == e && !IN(owner[p]) && plan[p] == to && UP(to))
#endif
#define HEALTHY(q) (UP(plan[q]) && (moves > 0 || MAY(MOVE)))
inline target() {                                /* any member that is up, but the planned one */
  if
  :: UP(inc[0]) && inc[0] != plan[p] -> to = inc[0]
  :: UP(inc[1]) && inc[1] != plan[p] -> to = inc[1]
#if NW > 2
  :: UP(inc[2]) && inc[2] != plan[p] -> to = inc[2]
#endif
  :: else -> to = NONE
  fi }
#ifdef ATONCE
/* A plan has an effect only if the ring epoch is still the one that it was computed from, so that no
 * other plan came between (I5), and its target is up and not the planned owner yet; a steal only if
 * owner, epoch and plan are still the same. Each could then have been looked at just when it was written.
 * Otherwise it does nothing, and might not have been looked at. What is left of a dispatcher is
 * whether it leads: a lease that ends is a leader that does nothing for a while, as any may. So there is
 * one, it leads, and LEADER is no fault. */
#define LEADS true
#define PLANTO(q, v) \
  :: d_step { UP(inc[v]) && inc[v] != plan[q] && (!UP(plan[q]) || HEALTHY(q)) -> /* step: plan */ \
       if :: UP(plan[q]) && moves > 0 -> moves-- :: UP(plan[q]) && !moves -> faults-- :: else fi; \
       plan[q] = inc[v]; \
       if \
       :: owner[q] != plan[q] && IN(owner[q]) -> tell(m1, owner[q], q) \
       :: owner[q] == plan[q] && IN(plan[q]) -> news = news | B(plan[q] % NW) \
       :: else fi }
#if NW > 2
#define PLANTO2(q) PLANTO(q, 2)
#else
#define PLANTO2(q)
#endif
#define LEADSTEPS(q) \
  PLANTO(q, 0) PLANTO(q, 1) PLANTO2(q) \
  :: d_step { !IN(owner[q]) && owner[q] != plan[q] && UP(plan[q]) -> flip(q, plan[q], 0) } /* step: steal */
#else
#define LEADS (lead[d] == 1)
#define LEADSTEPS(q) \
  :: atomic { lead[d] && !act && (!UP(plan[q]) || HEALTHY(q)) && SOMEUP(q) -> /* step: look */ \
       p = q; saw = plan[q]; target(); act = 1; fresh = fresh | B(d) } \
  :: d_step { lead[d] && !act && !IN(owner[q]) && owner[q] != plan[q] && UP(plan[q]) -> act = 2; p = q; to = plan[q]; e = ep[q] }
#endif
#define ASUP(v, q) (UP(inc[v]) && inc[v] != plan[q])
#if NW > 2
#define SOMEUP(q) (ASUP(0, q) || ASUP(1, q) || ASUP(2, q))
#else
#define SOMEUP(q) (ASUP(0, q) || ASUP(1, q))
#endif
#define ORPHAN(j) (PERMIT(j) && !IN(pc[j]))
inline revoke(j) { pc[j] = NONE; pe[j] = 0; tell(mu, owner[PART(j)], PART(j)) }
#define REVOKESTEPS(j) \
  :: d_step { LEADS && ORPHAN(j) -> revoke(j) } /* step: revoke */ \
  :: d_step { LEADS && PERMIT(j) && IN(pc[j]) && MAY(REVOKE) -> faults--; PAST(pc[j] % NW, j, RUNSOF(pe[j])); revoke(j) } /* step: revoke a live one */
/* Each fault leaves one former incarnation at most (a roll-back two), so as many are looked for. */
#if FAULTS > 2 || (FAULTS > 1 && KINDS & ROLL)
#define OLDEST(v) :: d_step { LEADS && inc[v] >= 3 * NW && IN(inc[v] - 3 * NW) -> evict(inc[v] - 3 * NW) }
#else
#define OLDEST(v)
#endif
#define EVICTSTEPS(v) \
  OLDEST(v) \
  :: d_step { LEADS && IN(inc[v]) && DEAD(v) -> evict(inc[v]) } /* step: evict */ \
  :: d_step { LEADS && inc[v] >= NW && IN(inc[v] - NW) -> evict(inc[v] - NW) } \
  :: d_step { LEADS && inc[v] >= 2 * NW && IN(inc[v] - 2 * NW) -> evict(inc[v] - 2 * NW) } \
  :: d_step { LEADS && IN(inc[v]) && !DEAD(v) && MAY(FREEZE) -> faults--; evict(inc[v]); \
       m1[v] = 0; md[v] = 0; mu[v] = 0; m2[v * NP] = 0; m2[v * NP + NP - 1] = 0; news = news & ~B(v) } /* step: evict a live one */
inline evict(i) { mem = mem & ~B(i); leaving = leaving & ~B(i) }
proctype Disp(byte d) {
  byte x;
#ifndef ATONCE
  byte act, p, to, e;                            /* what was decided: 1 plan, 2 steal; partition, target, epoch */
  byte saw;                                      /* the planned owner that it was to replace */
#endif
end: do
#ifndef ATONCE
  :: d_step { lead[0] != 1 && lead[1] != 1 && lead[d] == 0 && (d == 0 || lead[0] != 0) -> lead[d] = 1 } /* step: lead */
#endif
  LEADSTEPS(0)
#if NP > 1
  LEADSTEPS(1)
#endif
#ifndef ATONCE
  :: d_step { act == 1 -> /* step: plan */
       if
       :: PLANOK && UP(to) && to != plan[p] && (!UP(plan[p]) || moves > 0 || MAY(MOVE)) ->
          if :: UP(plan[p]) && moves > 0 -> moves-- :: UP(plan[p]) && !moves -> faults-- :: else fi;
          assert(plan[p] == saw);                /* I5 */
          plan[p] = to; fresh = 0;
          if
          :: owner[p] != to && IN(owner[p]) -> tell(m1, owner[p], p)
          :: owner[p] == to && IN(to) -> news = news | B(to % NW) /* it keeps what it was to lose */
          :: else
          fi
       :: else
       fi;
       fresh = fresh & ~B(d); act = 0; p = 0; to = 0; saw = 0 }
  :: d_step { act == 2 -> /* step: steal */
       if :: STEALOK && owner[p] != to -> flip(p, to, 0) :: else fi;
       act = 0; p = 0; to = 0; e = 0 }
#endif
  REVOKESTEPS(0)
  REVOKESTEPS(1)
  REVOKESTEPS(2)
  EVICTSTEPS(0)
  EVICTSTEPS(1)
#if NW > 2
  EVICTSTEPS(2)
#endif
#ifndef ATONCE
  :: d_step { lead[d] == 1 && MAY(LEADER) -> faults--; lead[d] = 2 } /* step: lease ends */
  :: d_step { lead[d] == 1 && MAY(LEADER) -> faults--; lead[d] = 0; fresh = fresh & ~B(d); act = 0; p = 0; to = 0; saw = 0; e = 0 }
  :: d_step { lead[d] == 2 && !act -> lead[d] = 0 } /* step: step down */
#endif
  od }

/* -- the rest of the world -- */
#define LOSESTEPS(v) \
  :: d_step { MAY(HINT) && m1[v] -> faults--; m1[v] = 0; news = news | B(v) } \
  :: d_step { MAY(HINT) && (md[v] | mu[v]) -> faults--; md[v] = 0; mu[v] = 0; news = news | B(v) } \
  :: d_step { MAY(HINT) && m2[v * NP] -> faults--; m2[v * NP] = 0; news = news | B(v) } \
  :: d_step { MAY(HINT) && m2[v * NP + NP - 1] -> faults--; m2[v * NP + NP - 1] = 0; news = news | B(v) }
#define WAITS(v) ((m1[v] | md[v] | mu[v] | m2[v * NP] | m2[v * NP + NP - 1]) -> B(v) : 0) /* its inbox holds something */
#define EMPTY(v) m1[v] = 0; md[v] = 0; mu[v] = 0; m2[v * NP] = 0; m2[v * NP + NP - 1] = 0; ghost[v] = 0
#define DEAF(p) (owner[p] != plan[p] && IN(owner[p]) && UP(plan[p]))
#define COPYPART(p) kowner[p] = owner[p]; kep[p] = ep[p]; kplan[p] = plan[p]; knxt[p] = nxt[p]
#define BACKPART(p) owner[p] = kowner[p]; ep[p] = kep[p]; plan[p] = kplan[p]; nxt[p] = knxt[p]; \
       kowner[p] = 0; kep[p] = 0; kplan[p] = 0; knxt[p] = 0
#define COPYJOB(j) kst[j] = st[j]; kpc[j] = pc[j]; kpe[j] = pe[j]
#define BACKJOB(j) st[j] = kst[j]; pc[j] = kpc[j]; pe[j] = kpe[j]; done[j] = (st[j] == 2 -> 1 : 0); kst[j] = 0; kpc[j] = 0; kpe[j] = 0
/* Every epoch passes all that may be forgotten, every change number jumps. What was told before is of an
 * older tenure, and of an older ring epoch: it does nothing any more. */
#define JUMP(p) ep[p] = (ep[p] > top[p] -> ep[p] : top[p]) + 1; top[p] = 0; assert(ep[p] < 8)
#define JUMPED(v) m1[v] = 0; md[v] = 0; mu[v] = 0; if :: !DEAD(v) && IN(inc[v]) -> news = news | B(v) :: else fi
#define STOPS(v) (stops & B(v))
#define MOVED(p) (owner[p] == plan[p] && IN(owner[p]))
proctype World() {
  byte r;
#if KINDS & ROLL
#ifdef M_NO_RENEW
  byte knews;
#else
  byte top[NP];                                  /* highest epoch ever */
#endif
  short kmem, kleaving; byte kowner[NP], kep[NP], kplan[NP], knxt[NP], kst[NJ], kpc[NJ], kpe[NJ];
#endif
  do
  LOSESTEPS(0) /* step: lose */
  LOSESTEPS(1)
#if NW > 2
  LOSESTEPS(2)
#endif
  :: d_step { late -> ack(late - 1, latej, latee, r); r = 0; late = 0; latej = 0; latee = 0 } /* step: late ack */
  :: d_step { late -> late = 0; latej = 0; latee = 0 }
  :: d_step { faults > 0 && !KEPT -> faults = 0 } /* no more faults: what is at rest now must be well */
#if KINDS & ROLL
  :: d_step { !kept && !rolled && faults > 0 -> /* step: copy */
       kept = 1; kmem = mem; kleaving = leaving;
#ifdef M_NO_RENEW
       heard = 0; knews = news | WAITS(0) | WAITS(1);
#if NW > 2
       knews = knews | WAITS(2);
#endif
#endif
       COPYJOB(0); COPYJOB(1); COPYJOB(2); COPYPART(0);
#if NP > 1
       COPYPART(1)
#endif
     }
  :: d_step { kept -> /* step: roll back */
       faults--; kept = 0; rolled = 1;
       mem = kmem; leaving = kleaving; kmem = 0; kleaving = 0;
#ifdef M_NO_RENEW
       news = knews; knews = 0; back = heard; heard = 0;
#else
       due = 1; news = 0; top[0] = ep[0]; top[NP - 1] = ep[NP - 1];
#endif
       EMPTY(0); EMPTY(1);
#if NW > 2
       EMPTY(2);
#endif
       BACKJOB(0); BACKJOB(1); BACKJOB(2); BACKPART(0);
#if NP > 1
       BACKPART(1);
#endif
       cut = (B(NW) - 1) & ~dead; late = 0; latej = 0; latee = 0; fresh = 0 }
#ifndef M_NO_RENEW
  :: d_step { due -> /* step: renew */
       due = 0; fresh = 0; JUMP(0); JUMPED(0); JUMPED(1);
#if NP > 1
       JUMP(1);
#endif
#if NW > 2
       JUMPED(2)
#endif
     }
#endif
  :: timeout ->                                  /* step: evict a deaf one: nobody releases, and the release timeout ends */
     if
     :: d_step { DEAF(0) -> evict(owner[0]) }
     :: d_step { DEAF(NP - 1) -> evict(owner[NP - 1]) }
     :: d_step { PERMITS -> /* step: drain timeout */
          if :: PERMIT(0) -> revoke(0) :: else fi; if :: PERMIT(1) -> revoke(1) :: else fi; if :: PERMIT(2) -> revoke(2) :: else fi }
     :: d_step { stops -> /* step: left at the deadline */
          if :: STOPS(0) -> evict(inc[0]) :: else fi; if :: STOPS(1) -> evict(inc[1]) :: else fi;
          if :: NW > 2 && STOPS(NW - 1) -> evict(inc[NW - 1]) :: else fi }
     :: !PERMITS && !stops && !DEAF(0) && !DEAF(NP - 1) -> break
     fi
#else
  :: timeout -> break
#endif
  od;
  assert(done[0] == 1 && done[1] == 1 && done[2] == 1); /* I3 */
  assert(st[0] == 2 && st[1] == 2 && st[2] == 2 && MOVED(0) && MOVED(NP - 1)) }

init {
  d_step {
    inc[0] = 0; inc[1] = 1;
#if NW > 2
    inc[2] = 2;
#endif
    mem = B(NW) - 1;
    ep[0] = 1;
#if NP > 1
    ep[1] = 1; nxt[1] = 2; owner[1] = 1; plan[1] = 1
#endif
  }
  atomic {
    run Worker(0); run Worker(1);
#if NW > 2
    run Worker(2);
#endif
    run Disp(0);
#ifndef ATONCE
    run Disp(1);
#endif
    run World() } }

/*
 * Start-up inside a sandbox: a seccomp filter that traps unknown system calls
 * would end the program. For the few calls that memtrack makes at start, the
 * trap is answered with ENOSYS. Used by one thread at a time.
 */
#include "segment.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

_Static_assert(sizeof(struct sigaction) <= sizeof(((struct mt_seccomp *)0)->saved),
               "saved holds a struct sigaction");

static void answer_enosys(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)info;
    ucontext_t *user = context;
#if defined(__x86_64__)
    user->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__i386__)
    user->uc_mcontext.gregs[REG_EAX] = -ENOSYS;
#elif defined(__aarch64__)
    user->uc_mcontext.regs[0] = (unsigned long long)-ENOSYS;
#else
    (void)user;
#endif
}

static bool is_filtered(void)
{
    char status[4096];
    if (mt_read_file("/proc/self/status", status, sizeof status) <= 0) return false;
    for (const char *at = status; *at; at++)
        if (*at == '\n' && !strncmp(at, "\nSeccomp:\t", 10)) return at[10] == '2';
    return false;
}

void mt_seccomp_enter(struct mt_seccomp *guard)
{
    guard->guarded = is_filtered();
    if (!guard->guarded) return;
    struct sigaction action = {.sa_sigaction = answer_enosys, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sigaction before;
    guard->guarded = sigaction(SIGSYS, &action, &before) == 0;
    memcpy(guard->saved, &before, sizeof before);
}

void mt_seccomp_leave(struct mt_seccomp *guard)
{
    if (!guard->guarded) return;
    struct sigaction before;
    memcpy(&before, guard->saved, sizeof before);
    sigaction(SIGSYS, &before, NULL);
}

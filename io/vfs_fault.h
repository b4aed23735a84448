#pragma once
/* vfs_fault.h: a um_vfs whose n-th call fails, for tests.
 *
 *     um_vfs *v = um_vfs_fault_new(um_vfs_real());
 *     for (n = 1;; n++) {
 *         um_vfs_fault_arm(v, n, forever, ENOSPC);
 *         st = work(v);
 *         if (um_vfs_fault_hits(v) == 0) break;   // the work makes fewer than n calls
 *     }
 *     um_vfs_fault_free(v);
 *
 * A write that fails has written half; a close that fails has closed; any other call that fails has done nothing. One thread.
 */
#include "io/vfs.h"

um_vfs *um_vfs_fault_new(um_vfs *base);
void um_vfs_fault_free(um_vfs *v);
/* The n-th call from now on fails with `error` (errno), and all later ones too when `forever`. n = 0: none fails. */
void um_vfs_fault_arm(um_vfs *v, int64_t n, bool forever, int error);
/* Calls that failed since um_vfs_fault_arm. */
int64_t um_vfs_fault_hits(const um_vfs *v);

#pragma once
/* vfs_crash.h: a um_vfs that remembers what was done, and afterwards makes folders as a loss of power at any moment could have left them. For tests.
 *
 *     um_vfs *v = um_vfs_crash_new("/tmp/x");              // an existing, empty folder; calls elsewhere are passed on and forgotten
 *     work(v);  ...  um_vfs_crash_mark(v); ...             // a mark: something was acknowledged here
 *     for (seed = 0; seed < 500; seed++) {
 *         um_vfs_crash_make(v, seed, "/tmp/y", &n_marks);  // y, which must not exist, is /tmp/x after a crash, before which n_marks marks had passed
 *         ...
 *     }
 *     um_vfs_crash_free(v);
 *
 * The moment comes from the seed. What was synced before it stays: the bytes of a file from its last sync, the entries of a folder from the folder's last sync. Of the rest any part may be there: of a folder's
 * changes a leading part or any subset, in order (a rename is one change); of a file's bytes any length, and of these each block of 512 as it was written, zeroed, or garbage. This is more than POSIX file systems
 * do to a program (ext4 keeps more order), and no less. One thread.
 */
#include "io/vfs.h"

um_vfs *um_vfs_crash_new(const char *folder);
void um_vfs_crash_free(um_vfs *v);
void um_vfs_crash_mark(um_vfs *v);
um_status um_vfs_crash_make(um_vfs *v, uint64_t seed, const char *folder, int *n_marks);

#include "io/vfs_crash.h"

#include "io/vfs_table.h"
#include "src/core/buf.h"
#include "src/core/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, MAX_FD = 4096 };

typedef enum op_kind { OP_CREATE, OP_WRITE, OP_SYNC, OP_RENAME, OP_LINK, OP_UNLINK, OP_MKDIR, OP_SYNC_DIR, OP_MARK } op_kind;

typedef struct op {
    op_kind kind;
    char *path, *to; /* relative to the folder */
    int node;        /* CREATE, WRITE, SYNC: which file */
    uint8_t *data;
    size_t n;
} op;

typedef struct crash {
    um_vfs table; /* first */
    char *folder;
    op *ops;
    size_t n_ops, cap;
    int n_nodes;
    int node_of[MAX_FD]; /* of an open file, plus one; 0: not ours */
} crash;

/* ---- recording ---- */

/* The part of `path` below the folder ("" for the folder itself), NULL if it is elsewhere. */
static const char *inside(const crash *c, const char *path)
{
    size_t n = strlen(c->folder);
    if (strncmp(path, c->folder, n) != 0 || (path[n] != 0 && path[n] != '/')) return NULL;
    return path[n] == '/' ? path + n + 1 : path + n;
}

static op *record(crash *c, op_kind kind, const char *path, const char *to, int node)
{
    if (c->n_ops == c->cap) {
        c->cap = c->cap > 0 ? 2 * c->cap : 64;
        c->ops = realloc(c->ops, c->cap * sizeof *c->ops);
        if (c->ops == NULL) abort(); /* a test cannot go on */
    }
    op *o = &c->ops[c->n_ops++];
    *o = (op){.kind = kind, .node = node};
    if (path != NULL) o->path = strdup(path);
    if (to != NULL) o->to = strdup(to);
    return o;
}

static int crash_open(um_vfs *v, const char *path, int flags)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    int fd = real->open(real, path, flags);
    if (fd < 0 || fd >= MAX_FD) return fd;
    c->node_of[fd] = 0;
    if ((flags & O_CREAT) != 0 && inside(c, path) != NULL) {
        c->node_of[fd] = ++c->n_nodes;
        record(c, OP_CREATE, inside(c, path), NULL, c->n_nodes - 1);
    }
    return fd;
}

static ssize_t crash_write(um_vfs *v, int fd, const void *p, size_t n)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    ssize_t r = real->write(real, fd, p, n);
    if (r > 0 && fd < MAX_FD && c->node_of[fd] > 0) {
        op *o = record(c, OP_WRITE, NULL, NULL, c->node_of[fd] - 1);
        o->data = malloc((size_t)r);
        if (o->data == NULL) abort();
        memcpy(o->data, p, (size_t)r);
        o->n = (size_t)r;
    }
    return r;
}

static ssize_t crash_pread(um_vfs *v, int fd, void *p, size_t n, off_t at)
{
    (void)v;
    um_vfs *real = um_vfs_real();
    return real->pread(real, fd, p, n, at);
}

/* Nothing is synced in truth: the record is what counts. */
static int crash_sync(um_vfs *v, int fd)
{
    crash *c = (crash *)v;
    if (fd < MAX_FD && c->node_of[fd] > 0) record(c, OP_SYNC, NULL, NULL, c->node_of[fd] - 1);
    return 0;
}

static int crash_close(um_vfs *v, int fd)
{
    (void)v;
    um_vfs *real = um_vfs_real();
    return real->close(real, fd);
}

static int crash_rename(um_vfs *v, const char *from, const char *to)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    int r = real->rename(real, from, to);
    if (r == 0 && inside(c, from) != NULL && inside(c, to) != NULL) record(c, OP_RENAME, inside(c, from), inside(c, to), 0);
    return r;
}

static int crash_link(um_vfs *v, const char *from, const char *to)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    int r = real->link(real, from, to);
    if (r == 0 && inside(c, from) != NULL && inside(c, to) != NULL) record(c, OP_LINK, inside(c, from), inside(c, to), 0);
    return r;
}

static int crash_unlink(um_vfs *v, const char *path)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    int r = real->unlink(real, path);
    if (r == 0 && inside(c, path) != NULL) record(c, OP_UNLINK, inside(c, path), NULL, 0);
    return r;
}

static int crash_mkdir(um_vfs *v, const char *path)
{
    crash *c = (crash *)v;
    um_vfs *real = um_vfs_real();
    int r = real->mkdir(real, path);
    if (r == 0 && inside(c, path) != NULL) record(c, OP_MKDIR, inside(c, path), NULL, 0);
    return r;
}

static int crash_sync_dir(um_vfs *v, const char *path)
{
    crash *c = (crash *)v;
    if (inside(c, path) != NULL) record(c, OP_SYNC_DIR, inside(c, path), NULL, 0);
    return 0;
}

static int crash_list(um_vfs *v, const char *path, um_names *out)
{
    (void)v;
    um_vfs *real = um_vfs_real();
    return real->list(real, path, out);
}

um_vfs *um_vfs_crash_new(const char *folder)
{
    static const um_vfs table = {crash_open, crash_write,  crash_pread, crash_sync,     crash_close, crash_rename,
                                 crash_link, crash_unlink, crash_mkdir, crash_sync_dir, crash_list};
    crash *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->table = table;
    c->folder = strdup(folder);
    return &c->table;
}

void um_vfs_crash_free(um_vfs *v)
{
    crash *c = (crash *)v;
    if (c == NULL) return;
    for (size_t i = 0; i < c->n_ops; i++) {
        free(c->ops[i].path);
        free(c->ops[i].to);
        free(c->ops[i].data);
    }
    free(c->ops);
    free(c->folder);
    free(c);
}

void um_vfs_crash_mark(um_vfs *v) { record((crash *)v, OP_MARK, NULL, NULL, 0); }

/* ---- making a folder as a crash could have left it ---- */

enum { NOTHING = -1, FOLDER = -2 };

typedef struct entry { /* what a path is called for: a file's number, FOLDER or NOTHING */
    const char *path;
    int node;
} entry;

typedef struct state {
    entry *entries;
    int n;
    um_buf *content; /* [n_nodes] */
    size_t *synced;  /* [n_nodes]: bytes that are durable */
} state;

static entry *find(state *s, const char *path)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->entries[i].path, path) == 0) return &s->entries[i];
    s->entries[s->n] = (entry){path, NOTHING};
    return &s->entries[s->n++];
}

/* Is `path` an entry of the folder `dir` itself? */
static bool directly_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n > 0) {
        if (strncmp(path, dir, n) != 0 || path[n] != '/') return false;
        path += n + 1;
    }
    return path[0] != 0 && strchr(path, '/') == NULL;
}

static bool changes_names(const op *o) { return o->kind == OP_CREATE || o->kind == OP_RENAME || o->kind == OP_LINK || o->kind == OP_UNLINK || o->kind == OP_MKDIR; }

static bool same_folder(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    size_t n = x != NULL ? (size_t)(x - a) : 0, m = y != NULL ? (size_t)(y - b) : 0;
    return n == m && memcmp(a, b, n) == 0;
}

/* Which file stood under the source's name when the change was made: known from the order in which things really happened. */
static int source_node(const crash *c, size_t at, const char *path)
{
    for (size_t i = at; i-- > 0;) {
        const op *o = &c->ops[i];
        if (o->kind == OP_CREATE && strcmp(o->path, path) == 0) return o->node;
        if ((o->kind == OP_RENAME || o->kind == OP_LINK) && strcmp(o->to, path) == 0) return source_node(c, i, o->path);
    }
    return NOTHING;
}

static void apply(const crash *c, state *s, size_t at)
{
    const op *o = &c->ops[at];
    switch (o->kind) {
    case OP_CREATE:
        find(s, o->path)->node = o->node;
        break;
    case OP_MKDIR:
        find(s, o->path)->node = FOLDER;
        break;
    case OP_UNLINK:
        find(s, o->path)->node = NOTHING;
        break;
    case OP_RENAME:
        find(s, o->path)->node = NOTHING;
        find(s, o->to)->node = source_node(c, at, o->path);
        break;
    case OP_LINK:
        find(s, o->to)->node = source_node(c, at, o->path);
        break;
    default:
        break;
    }
}

/* Are all folders above the path there? */
static bool reachable(const state *s, const char *path)
{
    char above[4096];
    snprintf(above, sizeof above, "%s", path);
    for (char *slash = strrchr(above, '/'); slash != NULL; slash = strrchr(above, '/')) {
        bool there = false;
        *slash = 0;
        for (int i = 0; i < s->n; i++) there = there || (s->entries[i].node == FOLDER && strcmp(s->entries[i].path, above) == 0);
        if (!there) return false;
    }
    return true;
}

/* The bytes of a file after the crash. */
static um_status write_file(const state *s, int node, const char *path, um_rng *r)
{
    const um_buf *b = &s->content[node];
    size_t keep = s->synced[node], len = b->len;
    uint32_t luck = um_rng_below(r, 3);
    um_vfs_file *f = NULL;
    um_buf out = {0};
    um_status st = UM_OK;
    if (luck == 0) len = keep;
    if (luck == 1 && len > keep) len = keep + um_rng_below(r, (uint32_t)(len - keep) + 1);
    UM_GOTO_PASS(st, um_buf_add(&out, b->data, len));
    for (size_t at = keep; luck != 2 && at < len;) {
        size_t end = (at / BLOCK + 1) * BLOCK < len ? (at / BLOCK + 1) * BLOCK : len;
        uint32_t fate = um_rng_below(r, 4);
        if (fate == 0) memset(out.data + at, 0, end - at);
        for (size_t i = at; fate == 1 && i < end; i++) out.data[i] = (uint8_t)um_rng_u32(r);
        at = end;
    }
    UM_GOTO_PASS(st, um_vfs_create(um_vfs_real(), path, &f));
    UM_GOTO_PASS(st, um_vfs_write(f, out.data, out.len));
done:
    um_vfs_drop(f);
    um_buf_release(&out);
    return st;
}

um_status um_vfs_crash_make(um_vfs *v, uint64_t seed, const char *folder, int *n_marks)
{
    crash *c = (crash *)v;
    um_rng r = um_rng_stream(seed, 0, 0, UM_RNG_CRASH);
    size_t moment = um_rng_below(&r, (uint32_t)c->n_ops + 1);
    state s = {0};
    um_status st = UM_OK;
    uint8_t *done = calloc(c->n_ops + 1, 1); /* [op]: this change of names is applied or lost for good */
    s.entries = calloc(2 * c->n_ops + 2, sizeof *s.entries);
    s.content = calloc((size_t)c->n_nodes + 1, sizeof *s.content);
    s.synced = calloc((size_t)c->n_nodes + 1, sizeof *s.synced);
    if (done == NULL || s.entries == NULL || s.content == NULL || s.synced == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "no memory for a crash");
        goto done;
    }
    *n_marks = 0;
    for (size_t i = 0; i < moment; i++) {
        const op *o = &c->ops[i];
        if (o->kind == OP_MARK) ++*n_marks;
        if (o->kind == OP_WRITE) UM_GOTO_PASS(st, um_buf_add(&s.content[o->node], o->data, o->n));
        if (o->kind == OP_SYNC) s.synced[o->node] = s.content[o->node].len;
        if (o->kind != OP_SYNC_DIR) continue;
        for (size_t k = 0; k < i; k++) {
            if (done[k] || !changes_names(&c->ops[k]) || !directly_in(c->ops[k].path, o->path)) continue;
            apply(c, &s, k);
            done[k] = 1;
        }
    }
    /* What was not synced, folder by folder. */
    for (size_t i = 0; i < moment; i++) {
        if (done[i] || !changes_names(&c->ops[i])) continue;
        uint32_t luck = um_rng_below(&r, 4), cut = um_rng_below(&r, 8), seen = 0;
        for (size_t k = i; k < moment; k++) {
            if (done[k] || !changes_names(&c->ops[k]) || !same_folder(c->ops[k].path, c->ops[i].path)) continue;
            bool keep = luck == 0 ? true : luck == 1 ? seen++ < cut : um_rng_below(&r, 2) == 0;
            if (keep) apply(c, &s, k);
            done[k] = 1;
        }
    }
    UM_GOTO_PASS(st, um_vfs_mkdir(um_vfs_real(), folder));
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0, n = s.n; i < n; i++) { /* parents come before what is in them: they were made first */
            entry e = s.entries[i];
            char path[8192];
            if ((pass == 0) != (e.node == FOLDER) || e.node == NOTHING || !reachable(&s, e.path)) continue;
            snprintf(path, sizeof path, "%s/%s", folder, e.path);
            UM_GOTO_PASS(st, e.node == FOLDER ? um_vfs_mkdir(um_vfs_real(), path) : write_file(&s, e.node, path, &r));
        }
    }
done:
    for (int i = 0; s.content != NULL && i < c->n_nodes; i++) um_buf_release(&s.content[i]);
    free(s.content);
    free(s.synced);
    free(s.entries);
    free(done);
    return st;
}

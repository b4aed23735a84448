#include "src/nn/net.h"

#include "src/core/clock.h"
#include "src/core/placing.h"
#include "src/nn/net_parts.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, DEFAULT_BUCKET_BYTES = 25 * 1024 * 1024, PLANE = 16 };

/* ---- lists ---- */

static um_status append(um_actions *l, um_action a)
{
    if (l->n == l->cap) {
        int more = l->cap > 0 ? 2 * l->cap : 256;
        um_action *grown = realloc(l->action, (size_t)more * sizeof *grown);
        if (grown == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
        l->action = grown;
        l->cap = more;
    }
    l->action[l->n++] = a;
    return UM_OK;
}

static um_status lane(um_actions *l, um_lane_fn *fn, int item) { return append(l, (um_action){.lane = fn, .item = item}); }
static um_status join(um_actions *l, um_join_fn *fn, int item) { return append(l, (um_action){.join = fn, .item = item}); }

/* The phases of a bottleneck and the meetings between them. */
static um_status list_block(um_net *n, int block, um_actions *l, bool training)
{
    const um_net_block *b = &n->block[block];
    UM_PASS(join(l, um_net_block_pack, 2 * block));
    for (int phase = b->at.expand >= 0 ? 0 : 1; phase < 3; phase++) {
        UM_PASS(lane(l, um_net_block_forward, 4 * block + phase));
        UM_PASS(join(l, training ? um_net_norm_join : um_net_norm_running, b->at.norm[phase]));
    }
    return lane(l, um_net_block_forward, 4 * block + 3);
}

static um_status list_forward(um_net *n)
{
    for (int i = 0; i < n->graph->n_nodes; i++) {
        if (n->block_of[i] >= 0) {
            UM_PASS(list_block(n, n->block_of[i], &n->forward, true));
            UM_PASS(list_block(n, n->block_of[i], &n->evaluate, false));
            i = n->block[n->block_of[i]].at.last;
            continue;
        }
        if (um_net_node(n, i)->op == UM_OP_BATCH_NORM) {
            UM_PASS(lane(&n->forward, um_net_norm_sums, i));
            UM_PASS(join(&n->forward, um_net_norm_join, i));
            UM_PASS(join(&n->evaluate, um_net_norm_running, i));
        }
        UM_PASS(lane(&n->forward, um_net_node_forward, i));
        UM_PASS(lane(&n->evaluate, um_net_node_forward, i));
    }
    return UM_OK;
}

/* Parameters that a node's backward leaves in the lanes' parts: at most two. */
static int parted(const um_node *v, int *param)
{
    int n = 0;
    bool has = v->op == UM_OP_CONV || v->op == UM_OP_DEPTHWISE || v->op == UM_OP_DENSE || (v->op == UM_OP_ACT && v->weight >= 0);
    if (has) param[n++] = v->weight;
    if (has && v->bias >= 0) param[n++] = v->bias;
    return n;
}

static bool has_params(const um_node *v) { return v->weight >= 0; }

/* The gradient of param goes to the lanes' parts, and is summed at the end of the group that is open. */
static void add_part(um_net *n, um_backward *w, int param)
{
    w->group_param[w->n_group_params++] = param;
    w->group[w->n_groups].n++;
    w->computed[param] = true;
    n->part_at[param] = w->part; /* the same on both ways: groups end at batch norms */
    w->part += ((size_t)n->graph->param[param].count + 15) / 16 * 16;
    if (n->part_each < w->part) n->part_each = w->part;
}

/* Ends the group that is open, if it has parameters. */
static um_status close_group(um_backward *w)
{
    w->part = 0;
    if (w->group[w->n_groups].n == 0) return UM_OK;
    UM_PASS(join(&w->actions, um_net_group_join, w->n_groups));
    w->n_groups++;
    w->group[w->n_groups] = (um_param_group){.first = w->n_group_params};
    return UM_OK;
}

/* Lanes and ranks meet in batch norm `node`, whose sums the lanes have left. */
static um_status meet(um_net *n, um_backward *w, int node)
{
    const um_node *v = um_net_node(n, node);
    UM_PASS(close_group(w));
    UM_PASS(join(&w->actions, um_net_norm_data_join, node));
    w->computed[v->weight] = w->computed[v->weight + 1] = true;
    return UM_OK;
}

static void add_parts_of(um_net *n, um_backward *w, int node)
{
    int param[2], count = parted(um_net_node(n, node), param);
    for (int j = 0; j < count; j++) add_part(n, w, param[j]);
}

static um_status list_block_back(um_net *n, int block, um_backward *w)
{
    const um_net_block *b = &n->block[block];
    um_actions *l = &w->actions;
    UM_PASS(lane(l, um_net_block_back, 4 * block));
    UM_PASS(meet(n, w, b->at.norm[2]));
    UM_PASS(join(l, um_net_block_pack, 2 * block + 1));
    UM_PASS(lane(l, um_net_block_back, 4 * block + 1));
    add_parts_of(n, w, b->at.project);
    add_parts_of(n, w, b->at.excite);
    add_parts_of(n, w, b->at.reduce);
    UM_PASS(meet(n, w, b->at.norm[1]));
    UM_PASS(lane(l, um_net_block_back, 4 * block + 2));
    add_parts_of(n, w, b->at.dw);
    if (b->at.expand < 0) return UM_OK;
    UM_PASS(meet(n, w, b->at.norm[0]));
    UM_PASS(lane(l, um_net_block_back, 4 * block + 3));
    add_parts_of(n, w, b->at.expand);
    return UM_OK;
}

/* The way back from the output to the nodes from `first` on. */
static um_status list_backward(um_net *n, int first, um_backward *w)
{
    const um_graph *g = n->graph;
    bool *written = calloc((size_t)g->n_nodes, sizeof *written);
    um_status st = UM_OK;
    w->needs = calloc((size_t)g->n_nodes, sizeof *w->needs);
    w->add = calloc(2 * (size_t)g->n_nodes, sizeof *w->add);
    w->group = calloc((size_t)g->n_nodes + 1, sizeof *w->group);
    w->group_param = calloc((size_t)g->n_params + 1, sizeof *w->group_param);
    w->computed = calloc((size_t)g->n_params + 1, sizeof *w->computed);
    if (written == NULL || w->needs == NULL || w->add == NULL || w->group == NULL || w->group_param == NULL || w->computed == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
        goto done;
    }
    for (int i = first; i < g->n_nodes; i++) {
        const um_node *v = &g->node[i];
        w->needs[i] = v->op != UM_OP_INPUT && (has_params(v) || (v->in[0] >= 0 && w->needs[v->in[0]]) || (v->in[1] >= 0 && w->needs[v->in[1]]));
    }
    written[g->output] = true;
    for (int i = g->output; i >= first; i--) {
        const um_node *v = &g->node[i];
        if (!written[i] || !w->needs[i]) continue;
        if (n->block_of[i] >= 0) {
            const um_net_block *b = &n->block[n->block_of[i]];
            w->add[2 * i] = written[b->at.x];
            written[b->at.x] = w->needs[b->at.x];
            UM_GOTO_PASS(st, list_block_back(n, n->block_of[i], w));
            i = b->at.first;
            continue;
        }
        for (int j = 0; j < 2; j++)
            if (v->in[j] >= 0 && w->needs[v->in[j]]) {
                w->add[2 * i + j] = written[v->in[j]];
                written[v->in[j]] = true;
            }
        if (v->op == UM_OP_BATCH_NORM) {
            UM_GOTO_PASS(st, lane(&w->actions, um_net_norm_data_sums, i));
            UM_GOTO_PASS(st, meet(n, w, i));
        }
        UM_GOTO_PASS(st, lane(&w->actions, um_net_node_backward, i));
        add_parts_of(n, w, i);
    }
    UM_GOTO_PASS(st, close_group(w));
done:
    free(written);
    return st;
}

static um_status list_buckets(um_net *n)
{
    const um_graph *g = n->graph;
    int64_t bytes = n->o.bucket_bytes > 0 ? n->o.bucket_bytes : DEFAULT_BUCKET_BYTES, most = g->param_count * (int64_t)sizeof(float) / (UM_COMM_MAX_PENDING / 2) + 1, end = g->param_count;
    if (bytes < most) bytes = most; /* a bucket ends with a parameter, so that there may be more than asked for: never twice as many */
    n->bucket_of = calloc((size_t)g->n_params + 1, sizeof *n->bucket_of);
    n->bucket_at = calloc(UM_COMM_MAX_PENDING + 1, sizeof *n->bucket_at);
    n->bucket_wait = calloc(UM_COMM_MAX_PENDING, sizeof *n->bucket_wait);
    n->all.bucket_left = calloc(UM_COMM_MAX_PENDING, sizeof(int));
    n->head_only.bucket_left = calloc(UM_COMM_MAX_PENDING, sizeof(int));
    if (n->bucket_of == NULL || n->bucket_at == NULL || n->bucket_wait == NULL || n->all.bucket_left == NULL || n->head_only.bucket_left == NULL)
        return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    n->bucket_at[0] = end;
    for (int p = g->n_params - 1; p >= 0; p--) {
        n->bucket_of[p] = n->n_buckets;
        n->all.bucket_left[n->n_buckets] += n->all.computed[p];
        n->head_only.bucket_left[n->n_buckets] += n->head_only.computed[p];
        if (p > 0 && (end - g->param[p].offset) * (int64_t)sizeof(float) < bytes) continue;
        end = g->param[p].offset;
        n->bucket_at[++n->n_buckets] = end;
    }
    return UM_OK;
}

/* ---- memory ---- */

/* Once without a base, to count; then with the memory. */
static size_t lay_out(um_net *n, unsigned char *base)
{
    um_placing p = {.base = base, .align = ALIGN};
    const um_graph *g = n->graph;
    size_t widest = 0, lanes = (size_t)n->o.n_lanes;
    for (int i = 0; i < g->n_nodes; i++) {
        size_t bytes = um_net_node_count(n, i) * (size_t)n->o.max_batch * sizeof(float);
        bool inside = n->block_of[i] >= 0 && n->block[n->block_of[i]].at.last != i;
        if (!inside) n->map[i] = um_place(&p, bytes);
        if (!inside && n->all.needs[i]) n->grad[i] = um_place(&p, bytes);
        if (g->node[i].op != UM_OP_BATCH_NORM) continue;
        um_norm_state *s = &n->norm[i];
        s->c = g->node[i].c;
        size_t row = ((size_t)s->c + PLANE - 1) / PLANE * PLANE * sizeof(float);
        float **of[] = {&s->mean, &s->rstd, &s->scale, &s->bias, &s->a, &s->b, &s->k};
        for (size_t j = 0; j < sizeof of / sizeof of[0]; j++) *of[j] = um_place(&p, row);
        s->sums = um_place(&p, lanes * 2 * (size_t)s->c * sizeof(double));
        if (widest < (size_t)s->c) widest = (size_t)s->c;
    }
    size_t most[4] = {0}, batch = (size_t)n->o.max_batch;
    for (int i = 0; i < n->n_blocks; i++) {
        um_net_block *b = &n->block[i];
        const um_block *s = &b->shape;
        size_t in = (size_t)s->dw.h * (size_t)s->dw.w * (size_t)s->c_mid, out = (size_t)s->dw.p * (size_t)s->dw.q, mid = (size_t)s->c_mid, sq = (size_t)s->c_squeezed;
        size_t count[] = {s->expands ? in : 0, out * mid, out * (size_t)s->c_out, mid, sq, sq, mid, mid, 1};
        float **of[] = {&b->z1, &b->z2, &b->z3, &b->means, &b->squeezed, &b->acted, &b->excited, &b->gate, &b->keep};
        for (size_t j = 0; j < sizeof of / sizeof of[0]; j++) *of[j] = um_place(&p, count[j] * batch * sizeof(float));
        size_t wanted[4] = {count[0] * batch * sizeof(float), count[1] * batch * sizeof(float)};
        for (int which = 0; which < 2; which++)
            for (int back = 0; back < 2; back++) {
                size_t bytes = n->ops->block->packed_bytes(s, back == 1, which);
                if (wanted[2 + which] < bytes) wanted[2 + which] = bytes;
            }
        for (int j = 0; j < 4; j++)
            if (most[j] < wanted[j]) most[j] = wanted[j];
    }
    n->e1 = um_place(&p, most[0]);
    n->e2 = um_place(&p, most[1]);
    n->packed[0] = um_place(&p, most[2]);
    n->packed[1] = um_place(&p, most[3]);
    n->message = um_place(&p, (2 * widest + 1) * sizeof(double));
    n->part = um_place(&p, (lanes - 1) * n->part_each * sizeof(float));
    n->scratch = um_place(&p, lanes * n->scratch_each);
    return p.end;
}

static um_status allocate(um_net *n)
{
    const um_graph *g = n->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const um_node *v = &g->node[i];
        if (n->block_of[i] >= 0 || (v->op != UM_OP_CONV && v->op != UM_OP_DEPTHWISE && v->op != UM_OP_DENSE && v->op != UM_OP_MAX_POOL)) continue;
        um_window w = um_window_of(g, i);
        size_t bytes = n->ops->scratch_bytes(&w);
        if (n->scratch_each < bytes) n->scratch_each = bytes;
    }
    for (int i = 0; i < n->n_blocks; i++) {
        size_t bytes = n->ops->block->scratch_bytes(&n->block[i].shape);
        if (n->scratch_each < bytes) n->scratch_each = bytes;
    }
    n->scratch_each = (n->scratch_each + ALIGN - 1) / ALIGN * ALIGN;
    n->bytes = lay_out(n, NULL) + ALIGN; /* kernels may read up to a register behind the last number */
    n->memory = aligned_alloc(ALIGN, n->bytes);
    if (n->memory == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory: training in batches of %d pictures needs %.1f GB", n->o.max_batch, (double)n->bytes / 1e9);
    memset(n->memory, 0, n->bytes);
    (void)lay_out(n, n->memory);
    return UM_OK;
}

static um_status build(um_net *n)
{
    const um_graph *g = n->graph;
    const um_node *out = &g->node[g->output];
    if (n->o.max_batch < 1 || n->o.n_lanes < 1 || n->o.n_lanes > UM_NET_MAX_LANES)
        return UM_FAIL(UM_INTERNAL, "a net of %d pictures in %d lanes", n->o.max_batch, n->o.n_lanes);
    if (n->o.precision != UM_F32) return UM_FAIL(UM_CONFIG, "training on a processor computes in f32");
    if (out->h != 1 || out->w != 1 || out->c != 1) return UM_FAIL(UM_DATA, "a net in training ends in one logit, and this one in %d x %d x %d", out->h, out->w, out->c);
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].op == UM_OP_INPUT && g->node[i].c > 3) return UM_FAIL(UM_DATA, "pictures of %d channels", g->node[i].c);
    if (strcmp(n->o.backend, "cpu") == 0) n->ops = &um_train_cpu;
    else if (strcmp(n->o.backend, "ref") == 0) n->ops = &um_train_ref;
    else return UM_FAIL(UM_CONFIG, "no backend %s: there are cpu and ref", um_quote(n->o.backend));
    n->map = calloc((size_t)g->n_nodes, sizeof *n->map);
    n->grad = calloc((size_t)g->n_nodes, sizeof *n->grad);
    n->norm = calloc((size_t)g->n_nodes, sizeof *n->norm);
    n->part_at = calloc((size_t)g->n_params + 1, sizeof *n->part_at);
    if (n->map == NULL || n->grad == NULL || n->norm == NULL || n->part_at == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].op == UM_OP_BATCH_NORM) n->head = i + 1;
    UM_PASS(um_net_find_blocks(n));
    UM_PASS(list_forward(n));
    UM_PASS(list_backward(n, 0, &n->all));
    UM_PASS(list_backward(n, n->head, &n->head_only));
    UM_PASS(list_buckets(n));
    return allocate(n);
}

um_status um_net_new(const um_graph *g, const um_net_options *o, um_net **out)
{
    um_net *n = calloc(1, sizeof *n);
    *out = NULL;
    if (n == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a net in training");
    n->graph = g;
    n->o = *o;
    um_status st = build(n);
    if (st != UM_OK) um_net_free(n);
    else *out = n;
    return st;
}

static void free_backward(um_backward *w)
{
    free(w->actions.action);
    free(w->needs);
    free(w->add);
    free(w->group);
    free(w->group_param);
    free(w->computed);
    free(w->bucket_left);
}

void um_net_free(um_net *n)
{
    if (n == NULL) return;
    free(n->forward.action);
    free(n->evaluate.action);
    free_backward(&n->all);
    free_backward(&n->head_only);
    free(n->map);
    free(n->grad);
    free(n->norm);
    free(n->part_at);
    free(n->bucket_of);
    free(n->bucket_at);
    free(n->bucket_wait);
    free(n->block);
    free(n->block_of);
    free(n->memory);
    free(n);
}

size_t um_net_bytes(const um_net *n) { return n->bytes; }
double um_net_comm_s(const um_net *n) { return n->comm_s; }

/* ---- running ---- */

static um_status run_lane(void *user, int64_t item, int thread)
{
    um_net *n = user;
    (void)thread;
    if (um_net_lane_count(n, (int)item) == 0) return UM_OK;
    for (const um_action *a = n->way_actions->action + n->run_first, *end = n->way_actions->action + n->run_end; a != end; a++) a->lane(n, a->item, (int)item);
    return UM_OK;
}

static um_status run(um_net *n, const um_actions *l)
{
    const um_comm *comm = n->o.comm;
    n->way_actions = l;
    for (int i = 0; i < l->n;) {
        if (l->action[i].join != NULL) {
            UM_PASS(l->action[i].join(n, l->action[i].item));
            i++;
            continue;
        }
        n->run_first = i;
        while (i < l->n && l->action[i].lane != NULL) i++;
        n->run_end = i;
        UM_PASS(um_pool_run(n->o.pool, n->o.n_lanes, run_lane, n));
        if (n->training && comm != NULL && comm->poll != NULL) comm->poll(comm->self);
    }
    return UM_OK;
}

static um_status begin(um_net *n, const um_net_batch *b)
{
    n->batch = b;
    for (int i = 0; i < n->o.n_lanes; i++) {
        if (b->lane_count[i] < 0 || b->lane_count[i] > n->o.max_batch - n->lane_first[i])
            return UM_FAIL(UM_INTERNAL, "lane %d of a batch has %d pictures: there is room for %d", i, b->lane_count[i], n->o.max_batch - n->lane_first[i]);
        n->lane_first[i + 1] = n->lane_first[i] + b->lane_count[i];
    }
    return UM_OK;
}

static void give_logits(const um_net *n, float *logits) { memcpy(logits, n->map[n->graph->output], (size_t)n->lane_first[n->o.n_lanes] * sizeof *logits); }

um_status um_net_forward(um_net *n, float *params, const um_net_batch *b, float *logits)
{
    UM_PASS(begin(n, b));
    n->params = params;
    n->training = true;
    UM_PASS(run(n, &n->forward));
    give_logits(n, logits);
    return UM_OK;
}

um_status um_net_evaluate(um_net *n, const float *params, const um_net_batch *b, float *logits)
{
    UM_PASS(begin(n, b));
    n->params = (float *)(size_t)params; /* read only: no action of this list writes */
    n->training = false;
    UM_PASS(run(n, &n->evaluate));
    give_logits(n, logits);
    return UM_OK;
}

um_status um_net_backward(um_net *n, const float *params, const um_net_batch *b, const float *d_logits, float *grads)
{
    const um_graph *g = n->graph;
    const um_backward *w = b->freeze_encoder ? &n->head_only : &n->all;
    UM_PASS(begin(n, b));
    n->params = (float *)(size_t)params; /* read only */
    n->training = true;
    n->grads = grads;
    n->way = w;
    n->n_begun = 0;
    for (int p = 0; p < g->n_params; p++)
        if (!w->computed[p]) memset(grads + g->param[p].offset, 0, (size_t)g->param[p].count * sizeof *grads);
    memcpy(n->bucket_wait, w->bucket_left, (size_t)n->n_buckets * sizeof *n->bucket_wait);
    memcpy(n->grad[g->output], d_logits, (size_t)n->lane_first[n->o.n_lanes] * sizeof *d_logits);
    UM_PASS(run(n, &w->actions));
    if (n->o.comm != NULL) {
        double start = um_clock_s();
        for (int i = 0; i < n->n_begun; i++) n->o.comm->wait(n->o.comm->self, i, NULL);
        n->comm_s += um_clock_s() - start;
    }
    return UM_OK;
}

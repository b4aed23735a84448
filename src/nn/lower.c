/* lower.c: nodes become steps. Each node that computes begins a step; the nodes behind it that have no other reader are taken into it as long as the step's form allows: batch norm, residual sum, activation.
 * Nodes of training alone vanish. A node's number type is that of its operand, except that a mean is always f32 and so is what is computed from means alone: gates and the dense head stay f32 in a bf16 plan. */
#include "src/nn/plan_parts.h"

#include <stdlib.h>
#include <string.h>

typedef struct lowering {
    um_plan *p;
    const um_graph *g;
    int *n_readers; /* of each node */
    int *reader;    /* of each node: one of its readers */
    int *value;     /* of each node: the value that holds it, -1: not yet */
    bool *taken;    /* nodes that became part of an earlier step */
} lowering;

static um_status grow(void *list, int n, int *cap, size_t size)
{
    void **at = list, *grown;
    int more = *cap > 0 ? *cap * 2 : 64;
    if (n < *cap) return UM_OK;
    grown = realloc(*at, (size_t)more * size);
    if (grown == NULL) return UM_FAIL(UM_NO_MEMORY, "out of memory for a plan of %d steps", n);
    *at = grown;
    *cap = more;
    return UM_OK;
}

static um_status new_value(lowering *l, size_t count, um_dtype type, int *out)
{
    um_plan *p = l->p;
    void *list = &p->value;
    UM_PASS(grow(list, p->n_values, &p->cap_values, sizeof *p->value));
    p->value[p->n_values] = (um_value){.bytes = (size_t)p->options.batch * count * um_dtype_bytes(type), .type = type, .first = -1, .last = -1};
    *out = p->n_values++;
    return UM_OK;
}

static size_t node_count(const um_node *n) { return (size_t)n->h * (size_t)n->w * (size_t)n->c; }

/* Appends the step with its output value and says which node it computes. */
static um_status emit(lowering *l, um_step *s, const um_source *from, int node)
{
    um_plan *p = l->p;
    const um_node *n = &l->g->node[node];
    void *list = &p->step, *sources = &p->source;
    int cap = p->cap_steps;
    if (s->residual >= 0) s->out_type = p->value[s->residual].type;
    s->n = p->options.batch;
    UM_PASS(new_value(l, node_count(n), s->out_type, &s->out));
    UM_PASS(grow(list, p->n_steps, &cap, sizeof *p->step));
    UM_PASS(grow(sources, p->n_steps, &p->cap_steps, sizeof *p->source));
    p->step[p->n_steps] = *s;
    p->source[p->n_steps++] = *from;
    l->value[node] = s->out;
    return UM_OK;
}

/* A step over elements: act(in * gate + residual). */
static um_status emit_elements(lowering *l, int in, int gate, int residual, um_act act, um_dtype out_type, int act_node, int node)
{
    const um_node *n = &l->g->node[node];
    um_source from = {-1, -1, act_node};
    um_step s = {.kind = UM_STEP_ACT, .act = act, .h = n->h, .w = n->w, .c = n->c, .p = n->h, .q = n->w, .k = n->c, .r = 1, .s = 1, .stride = 1};
    s.in = in;
    s.gate = gate;
    s.residual = residual;
    s.means = -1;
    s.in_type = l->p->value[in].type;
    s.out_type = out_type;
    return emit(l, &s, &from, node);
}

/* The only reader of a node, or -1. */
static int only_reader(const lowering *l, int node) { return l->n_readers[node] == 1 && l->g->output != node ? l->reader[node] : -1; }

/* The last node of the chain from `node` over nodes that do nothing in inference and have no other reader. */
static int past_dropout(const lowering *l, int node)
{
    for (;;) {
        int r = only_reader(l, node);
        if (r < 0 || (l->g->node[r].op != UM_OP_DROP_PATH && l->g->node[r].op != UM_OP_DROPOUT)) return node;
        node = r;
    }
}

/* Marks what the step of `first` has taken in: the chain of only readers up to `last`. */
static void take_chain(lowering *l, int first, int last)
{
    while (first != last) {
        first = l->reader[first];
        l->taken[first] = true;
    }
}

/* The chain behind a step: [batch norm], [sum with a value that is there already], [activation]. Fills the step and returns its last node. */
static int take_followers(lowering *l, int node, um_step *s, um_source *from, bool norm, bool sum)
{
    const um_graph *g = l->g;
    int tail = past_dropout(l, node), r = only_reader(l, tail);
    if (norm && r >= 0 && g->node[r].op == UM_OP_BATCH_NORM) {
        from->norm = r;
        tail = past_dropout(l, r);
        r = only_reader(l, tail);
    }
    if (sum && r >= 0 && g->node[r].op == UM_OP_ADD) {
        int other = g->node[r].in[0] == tail ? g->node[r].in[1] : g->node[r].in[0];
        int held = l->value[other]; /* -1: computed later; then that one takes the sum */
        /* The residual sets the type of the sum, which must not lose precision by it. */
        if (held >= 0 && (l->p->value[held].type == UM_F32 || s->out_type != UM_F32)) {
            s->residual = held;
            tail = past_dropout(l, r);
            r = only_reader(l, tail);
        }
    }
    if (r >= 0 && g->node[r].op == UM_OP_ACT) {
        s->act = g->node[r].act;
        if (s->act == UM_ACT_PRELU) from->act = r;
        tail = r;
    }
    take_chain(l, node, tail);
    return tail;
}

/* The value of a node as f32 vector: gates are f32 always. */
static um_status gate_value(lowering *l, int node, int *out)
{
    int held = l->value[node];
    um_status st = UM_OK;
    if (l->p->value[held].type != UM_F32) st = emit_elements(l, held, -1, -1, UM_ACT_NONE, UM_F32, -1, node);
    *out = l->value[node];
    l->value[node] = held;
    return st;
}

static um_status lower_filter(lowering *l, int node)
{
    const um_node *n = &l->g->node[node], *in = &l->g->node[n->in[0]];
    um_source from = {node, -1, -1};
    um_step s = {.kind = n->op == UM_OP_DEPTHWISE || n->op == UM_OP_BATCH_NORM ? UM_STEP_DEPTHWISE : UM_STEP_CONV};
    int before = n->in[0];
    s.residual = s.gate = s.means = -1;
    s.h = in->h;
    s.w = in->w;
    s.c = in->c;
    s.p = n->h;
    s.q = n->w;
    s.k = n->c;
    s.r = n->op == UM_OP_BATCH_NORM ? 1 : n->r;
    s.s = n->op == UM_OP_BATCH_NORM ? 1 : n->s;
    s.stride = n->op == UM_OP_BATCH_NORM ? 1 : n->stride;
    s.pad_top = n->pad_top;
    s.pad_left = n->pad_left;
    if (n->op == UM_OP_DENSE) {
        s.c = in->h * in->w * in->c; /* the map lies in memory in the order h, w, c */
        s.h = s.w = 1;
    }
    /* A product that only this convolution reads was left for it. A flattened map has other channels than the gate. */
    if (in->op == UM_OP_SCALE && l->value[before] < 0) {
        UM_PASS(gate_value(l, in->in[1], &s.gate));
        before = in->in[0];
    }
    s.in = l->value[before];
    s.in_type = s.out_type = l->p->value[s.in].type;
    return emit(l, &s, &from, take_followers(l, node, &s, &from, n->op != UM_OP_BATCH_NORM, s.kind == UM_STEP_CONV));
}

/* A mean over a map that a depthwise step writes is summed up there. */
static um_status lower_mean(lowering *l, int node)
{
    const um_node *n = &l->g->node[node], *in = &l->g->node[n->in[0]];
    um_plan *p = l->p;
    int held = l->value[n->in[0]], writer = -1;
    um_source from = {-1, -1, -1};
    um_step s = {.kind = UM_STEP_MEAN, .h = in->h, .w = in->w, .c = in->c, .p = 1, .q = 1, .k = in->c, .r = in->h, .s = in->w, .stride = 1};
    for (int i = 0; i < p->n_steps; i++)
        if (p->step[i].out == held) writer = i;
    if (writer >= 0 && p->step[writer].kind == UM_STEP_DEPTHWISE) {
        if (p->step[writer].means < 0) UM_PASS(new_value(l, (size_t)n->c, UM_F32, &p->step[writer].means));
        l->value[node] = p->step[writer].means;
        return UM_OK;
    }
    s.in = held;
    s.in_type = p->value[held].type;
    s.out_type = UM_F32;
    s.residual = s.gate = s.means = -1;
    return emit(l, &s, &from, node);
}

/* Only a 1 x 1 filter takes a gate in: there the product is made once for each number, or moved into the weights. */
static bool takes_gate(const um_node *reader, const um_node *product)
{
    if (reader->op == UM_OP_CONV) return reader->r == 1 && reader->s == 1 && reader->stride == 1;
    return reader->op == UM_OP_DENSE && product->h == 1 && product->w == 1;
}

static um_status lower_scale(lowering *l, int node)
{
    const um_node *n = &l->g->node[node];
    int r = only_reader(l, node), held = l->value[n->in[0]], gate;
    um_step s = {.residual = -1, .out_type = l->p->value[held].type};
    um_source from = {-1, -1, -1};
    if (r >= 0 && takes_gate(&l->g->node[r], n)) return UM_OK; /* see lower_filter */
    UM_PASS(gate_value(l, n->in[1], &gate));
    node = take_followers(l, node, &s, &from, false, true);
    return emit_elements(l, held, gate, s.residual, s.act, s.out_type, from.act, node);
}

static um_status lower_add(lowering *l, int node)
{
    const um_node *n = &l->g->node[node];
    int a = l->value[n->in[0]], b = l->value[n->in[1]];
    um_step s = {.residual = b};
    um_source from = {-1, -1, -1};
    /* The sum has the residual's type: f32 where one of the two is. */
    if (l->p->value[a].type == UM_F32) {
        s.residual = a;
        a = b;
    }
    node = take_followers(l, node, &s, &from, false, false);
    return emit_elements(l, a, -1, s.residual, s.act, l->p->value[s.residual].type, from.act, node);
}

static um_status lower_input(lowering *l, int node)
{
    const um_node *n = &l->g->node[node];
    um_source from = {-1, -1, -1};
    um_step s = {.kind = UM_STEP_CONVERT, .h = n->h, .w = n->w, .c = n->c, .p = n->h, .q = n->w, .k = n->c, .r = 1, .s = 1, .stride = 1};
    if (n->c != 3) return UM_FAIL(UM_DATA, "the network wants pictures of %d channels: a plan knows RGB only", n->c);
    UM_PASS(new_value(l, node_count(n), UM_U8, &s.in));
    s.residual = s.gate = s.means = -1;
    s.in_type = UM_U8;
    s.out_type = l->p->options.precision;
    memcpy(s.mean, l->p->options.mean, sizeof s.mean);
    memcpy(s.std, l->p->options.std, sizeof s.std);
    return emit(l, &s, &from, node);
}

static um_status lower_max_pool(lowering *l, int node)
{
    const um_node *n = &l->g->node[node], *in = &l->g->node[n->in[0]];
    um_source from = {-1, -1, -1};
    um_step s = {.kind = UM_STEP_MAX_POOL, .h = in->h, .w = in->w, .c = in->c, .p = n->h, .q = n->w, .k = n->c, .r = n->r, .s = n->s, .stride = n->stride};
    s.in = l->value[n->in[0]];
    s.in_type = s.out_type = l->p->value[s.in].type;
    s.residual = s.gate = s.means = -1;
    return emit(l, &s, &from, node);
}

static um_status lower_node(lowering *l, int node)
{
    const um_node *n = &l->g->node[node];
    switch (n->op) {
    case UM_OP_INPUT: return lower_input(l, node);
    case UM_OP_CONV:
    case UM_OP_DEPTHWISE:
    case UM_OP_DENSE:
    case UM_OP_BATCH_NORM: return lower_filter(l, node);
    case UM_OP_ACT:
        return emit_elements(l, l->value[n->in[0]], -1, -1, n->act, l->p->value[l->value[n->in[0]]].type, n->act == UM_ACT_PRELU ? node : -1, node);
    case UM_OP_MEAN: return lower_mean(l, node);
    case UM_OP_MAX_POOL: return lower_max_pool(l, node);
    case UM_OP_SCALE: return lower_scale(l, node);
    case UM_OP_ADD: return lower_add(l, node);
    case UM_OP_DROP_PATH:
    case UM_OP_DROPOUT: l->value[node] = l->value[n->in[0]]; return UM_OK;
    }
    return UM_FAIL(UM_INTERNAL, "operator %d is not known to the plan", (int)n->op);
}

/* Only what the output depends on is computed. */
static void count_readers(lowering *l, bool *needed)
{
    const um_graph *g = l->g;
    needed[g->output] = true;
    for (int i = g->n_nodes - 1; i >= 0; i--)
        for (int j = 0; needed[i] && j < 2; j++) {
            int in = g->node[i].in[j];
            if (in < 0) continue;
            needed[in] = true;
            l->n_readers[in]++;
            l->reader[in] = i;
        }
}

/* The output is f32 and read by nobody else, so that its step may write it in f32. */
static um_status lower_output(lowering *l)
{
    um_plan *p = l->p;
    int held = l->value[l->g->output];
    if (p->value[held].type != UM_F32) UM_PASS(emit_elements(l, held, -1, -1, UM_ACT_NONE, UM_F32, -1, l->g->output));
    p->output = l->value[l->g->output];
    return UM_OK;
}

static void count_value_readers(um_plan *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        const um_step *s = &p->step[i];
        p->value[s->in].n_readers++;
        if (s->residual >= 0) p->value[s->residual].n_readers++;
        if (s->gate >= 0) p->value[s->gate].n_readers++;
    }
    p->value[p->output].n_readers++;
}

um_status um_lower(um_plan *p)
{
    um_status st = UM_OK;
    const um_graph *g = p->graph;
    size_t n = (size_t)g->n_nodes;
    lowering l = {.p = p, .g = g};
    bool *needed = calloc(n, sizeof *needed);
    l.n_readers = calloc(n, sizeof *l.n_readers);
    l.reader = calloc(n, sizeof *l.reader);
    l.value = calloc(n, sizeof *l.value);
    l.taken = calloc(n, sizeof *l.taken);
    if (needed == NULL || l.n_readers == NULL || l.reader == NULL || l.value == NULL || l.taken == NULL) {
        st = UM_FAIL(UM_NO_MEMORY, "out of memory for a plan of %d nodes", g->n_nodes);
        goto done;
    }
    count_readers(&l, needed);
    for (int i = 0; i < g->n_nodes; i++) l.value[i] = -1;
    for (int i = 0; i < g->n_nodes; i++)
        if ((needed[i] || g->node[i].op == UM_OP_INPUT) && !l.taken[i]) UM_GOTO_PASS(st, lower_node(&l, i));
    UM_GOTO_PASS(st, lower_output(&l));
    count_value_readers(p);
done:
    free(needed);
    free(l.n_readers);
    free(l.reader);
    free(l.value);
    free(l.taken);
    return st;
}

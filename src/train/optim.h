#pragma once
/* optim.h: from gradients to new parameters, over the flat array of a graph (src/nn/graph.h).
 *
 *     um_optim *o; UM_PASS(um_optim_new(graph, &options, pool, &o));
 *     for each step:
 *         double norm = um_optim_norm(o, grads, head_only);                     // of the gradients as they are
 *         um_optim_step(o, params, grads, scale, rate, head_only);              // scale: 1 / micro-batches, times um_optim_clip(...)
 *
 * All parameters but the running statistics of batch norm are trained, and all of them decay, as with PyTorch's optimisers given model.parameters(). With head_only the others are left alone altogether (PyTorch: requires_grad False): no
 * decay, no momentum; the head is what is called "fc.". g is scale times the gradient, p the parameter, r the rate, w the weight decay, m and v what is remembered (0 at first), t the count of updates of this parameter, this one included:
 *
 *     SGD      g += w p;  m = momentum m + g;  p -= r (nesterov ? g + momentum m : m)                                                           (torch.optim.SGD, dampening 0)
 *     AdamW    p -= r w p;  m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g;  p -= r / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)   (torch.optim.AdamW)
 *     RMSprop  g += w p;  v = alpha v + (1 - alpha) g g;  m = momentum m + g / (sqrt(v) + eps);  p -= r m                                         (torch.optim.RMSprop)
 *
 * Results do not depend on the pool's threads: sums are made in pieces of fixed size, added in order.
 */
#include "src/core/pool.h"
#include "src/nn/graph.h"

typedef enum um_optim_type { UM_OPTIM_SGD, UM_OPTIM_ADAMW, UM_OPTIM_RMSPROP } um_optim_type;
#define UM_OPTIM_NAMES "SGD|AdamW|RMSprop"

typedef struct um_optim_options {
    um_optim_type type;
    bool nesterov;
    double momentum, weight_decay, beta1, beta2, alpha, eps;
} um_optim_options;

enum { UM_OPTIM_SLOTS = 2 };
typedef struct um_optim_state { /* all that is remembered: what a checkpoint keeps */
    float *slot[UM_OPTIM_SLOTS]; /* [param_count] m, v; NULL where the type has none */
    int64_t n_head, n_encoder;   /* updates of the head, of all else */
} um_optim_state;

typedef struct um_optim um_optim;
/* Errors: UM_NO_MEMORY, UM_USAGE (Nesterov without momentum). pool: NULL or the caller's, used by one call at a time. */
um_status um_optim_new(const um_graph *g, const um_optim_options *options, um_pool *pool, um_optim **out);
void um_optim_free(um_optim *o);
um_optim_state *um_optim_get_state(um_optim *o);
/* Square root of the sum of squares of the trained gradients. NaN or infinite when one of them is. */
double um_optim_norm(um_optim *o, const float *grads, bool head_only);
/* torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)); 1 for max_norm 0. */
double um_optim_clip(double norm, double max_norm);
void um_optim_step(um_optim *o, float *params, const float *grads, double scale, double rate, bool head_only);
/* average += (1 - d)(params - average) over all of them, running statistics too, with d = min(decay, (1 + n) / (10 + n)) and n the updates before this one (timm's ModelEmaV2 with a warm-up). */
void um_optim_average(um_optim *o, float *average, const float *params, double decay, int64_t n);

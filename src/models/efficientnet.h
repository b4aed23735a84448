#pragma once
/* efficientnet.h: the networks of Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019, as timm's tf_efficientnet_* builds them: TensorFlow's SAME padding, batch
 * norm eps 1e-3, squeeze-and-excite reduced from the block's input width, stem and head widths scaled; with the reference's head: global mean, dropout, one logit ("fc").
 *
 * Parameters are called as in the reference's checkpoints without "module.": encoder.conv_stem.weight, encoder.bn1.*, encoder.blocks.S.B.{conv_pw,bn1,conv_dw,bn2,se.conv_reduce,se.conv_expand,conv_pwl,bn3}.*
 * (first stage: conv_dw,bn1,se,conv_pw,bn2), encoder.conv_head, encoder.bn2, fc.weight (1,K), fc.bias (1).
 */
#include "src/nn/graph.h"

typedef struct um_efficientnet {
    char name[16];       /* "b7"; "w1.2d1.4" for multipliers of one's own */
    double width, depth; /* multipliers */
    int native_px;       /* the size timm trained it at; 0 for own multipliers */
} um_efficientnet;

enum { UM_EFFICIENTNETS = 8 };
extern const um_efficientnet um_efficientnets[UM_EFFICIENTNETS]; /* b0..b7 */

/* "b0".."b7" (also "tf_efficientnet_b7", with or without "_ns" or "_ap") or "w<width>d<depth>". UM_USAGE names what there is. */
um_status um_efficientnet_parse(const char *text, um_efficientnet *out);
/* The whole network for pictures of size_px x size_px x 3. head: with mean, dropout and logit; without, the output is the head's map (an encoder). drop_path: block i of the n there are drops its branch
 * at drop_path * i / n, as in timm; dropout: before fc. Both matter in training only. Errors: UM_NO_MEMORY, UM_USAGE (a size below 32 or above 2048). */
um_status um_efficientnet_graph(const um_efficientnet *net, int size_px, bool head, float drop_path, float dropout, um_graph **out);

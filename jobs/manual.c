#include "jobs/manual.h"

#include <inttypes.h>
#include <string.h>

static const um_opt *rows_of(const um_job *job) { return job->make_options != NULL ? job->make_options() : job->options; }
static bool set_only(const um_opt *o) { return (o->flags & UM_OPT_SET_ONLY) != 0; }
static bool has_choices(const um_opt *o) { return o->choices != NULL && (o->type == UM_OPT_CHOICE || o->type == UM_OPT_SET); }

/* ---- man ---- */

/* Text for troff: backslashes and hyphens as they are, no line that begins as a request would. */
static um_status man_text(um_buf *out, const char *s)
{
    if (*s == '.' || *s == '\'') UM_PASS(um_buf_add_str(out, "\\&"));
    for (; *s != 0; s++) {
        if (*s == '\\') UM_PASS(um_buf_add_str(out, "\\e"));
        else if (*s == '-') UM_PASS(um_buf_add_str(out, "\\-"));
        else UM_PASS(um_buf_add(out, s, 1));
        if (*s == '\n' && (s[1] == '.' || s[1] == '\'')) UM_PASS(um_buf_add_str(out, "\\&"));
    }
    return UM_OK;
}

static um_status man_marked(um_buf *out, char font, const char *s)
{
    UM_PASS(um_buf_printf(out, "\\f%c", font));
    UM_PASS(man_text(out, s));
    return um_buf_add_str(out, "\\fR");
}

static um_status man_option(um_buf *out, const um_opt *o)
{
    const char *arg = has_choices(o) ? o->choices : o->arg != NULL ? o->arg : "VALUE";
    char letter[3] = {'-', o->letter, 0};
    um_buf text = {0};
    um_status st;
    UM_GOTO_PASS(st, um_buf_add_str(out, ".TP\n"));
    if (o->letter != 0) {
        UM_GOTO_PASS(st, man_marked(out, 'B', letter));
        UM_GOTO_PASS(st, um_buf_add_str(out, ", "));
    }
    UM_GOTO_PASS(st, um_buf_printf(&text, set_only(o) ? "--set %s=" : "--%s", o->key));
    UM_GOTO_PASS(st, man_marked(out, 'B', (char *)text.data));
    if (o->type != UM_OPT_FLAG || set_only(o)) {
        if (!set_only(o)) UM_GOTO_PASS(st, um_buf_add_str(out, " "));
        UM_GOTO_PASS(st, man_marked(out, 'I', arg));
    }
    um_buf_clear(&text);
    UM_GOTO_PASS(st, um_buf_printf(&text, "\n%s", o->help));
    if (o->def != NULL && o->type != UM_OPT_FLAG) UM_GOTO_PASS(st, um_buf_printf(&text, "; default %s", o->def));
    if ((o->type == UM_OPT_INT || o->type == UM_OPT_REAL || o->type == UM_OPT_REALS3) && (o->min != 0 || o->max != 0)) UM_GOTO_PASS(st, um_buf_printf(&text, "; from %g to %g", o->min, o->max));
    if ((o->flags & UM_OPT_REQUIRED) != 0) UM_GOTO_PASS(st, um_buf_add_str(&text, "; required"));
    UM_GOTO_PASS(st, um_buf_add_str(&text, ".\n"));
    st = man_text(out, (char *)text.data);
done:
    um_buf_release(&text);
    return st;
}

static um_status man_job(um_buf *out, const um_job *job)
{
    UM_PASS(um_buf_printf(out, ".SS unmask %s\n", job->name));
    if ((job->flags & UM_JOB_MPI) != 0) UM_PASS(um_buf_add_str(out, "[\\fBmpirun \\-n\\fR \\fIN\\fR] "));
    UM_PASS(um_buf_add_str(out, "\\fBunmask\\fR "));
    UM_PASS(man_text(out, job->usage));
    UM_PASS(um_buf_add_str(out, "\n.PP\n"));
    UM_PASS(man_text(out, job->summary));
    UM_PASS(um_buf_add_str(out, ".\n"));
    if (job->details != NULL) {
        UM_PASS(um_buf_add_str(out, ".PP\n"));
        UM_PASS(man_text(out, job->details));
    }
    for (const um_opt *o = rows_of(job); o->key != NULL; o++) UM_PASS(man_option(out, o));
    return UM_OK;
}

/* Exit codes of the statuses that end a job, each once, with the words of the status table. */
static um_status man_exit_codes(um_buf *out)
{
    static const struct {
        um_status status;
    } rows[] = {
#define X(sym, num, name, cls, exit_code, text) {sym},
        UM_STATUS_TABLE(X)
#undef X
    };
    int last = -1;
    for (int code = 0; code < 128; code++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            um_status_class c = um_status_class_of(rows[i].status);
            if ((c != UM_CLASS_JOB && c != UM_CLASS_OK) || um_status_exit(rows[i].status) != code) continue;
            if (code != last) UM_PASS(um_buf_printf(out, ".TP\n.B %d\n", code));
            else UM_PASS(um_buf_add_str(out, "; "));
            UM_PASS(man_text(out, um_status_text(rows[i].status)));
            UM_PASS(um_buf_add_str(out, "\n"));
            last = code;
        }
    return UM_OK;
}

static um_status man_pairs(um_buf *out, const char *const (*pair)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        UM_PASS(um_buf_add_str(out, ".TP\n"));
        UM_PASS(man_marked(out, 'B', pair[i][0]));
        UM_PASS(um_buf_add_str(out, "\n"));
        UM_PASS(man_text(out, pair[i][1]));
        UM_PASS(um_buf_add_str(out, "\n"));
    }
    return UM_OK;
}

um_status um_manual_man(const um_job *const *jobs, um_buf *out)
{
    static const char *const environment[][2] = {
        {"UNMASK_HOME", "Folder with mtcnn.h5, the face detector, and models that are taken where none is named; looked into before share/unmask."},
        {"UNMASK_CUDA", "auto, on or off: whether GPUs are used where the command line says --device auto."},
        {"UNMASK_CUDA_MODULE", "The GPU module to load, instead of the one beside the program or in ../lib/unmask."},
        {"UNMASK_ISA", "base or avx2: the highest instruction set that is used, lower than the processor's; results in f32 are the same bits."},
        {"CUDA_VISIBLE_DEVICES", "GPUs that CUDA shows to a process."},
    };
    static const char *const files[][2] = {
        {"share/unmask/mtcnn.h5", "The face detector, beside the program or beside the folder bin that it is installed in; unmask import mtcnn makes it."},
        {"share/unmask/slurm", "Job scripts for Slurm, where installed: slurm/pipeline.sh --help."},
        {"share/unmask/configs", "Networks and schedules for unmask train --config."},
    };
    static const char *const examples[][2] = {
        {"mpirun -n 32 unmask preprocess /data/dfdc --store /data/store", "faces, crops, landmarks and masks of a data set; started again, it continues"},
        {"mpirun -n 32 unmask score /data/archive -m models -o scores.csv", "the verdict on every video, by all models of a folder"},
        {"unmask plan score /data/archive -m models --nodes 4 --ranks-per-node 32", "what that would take, and the line for sbatch"},
        {"unmask doctor", "what this machine has, and what is missing"},
    };
    UM_PASS(um_buf_printf(out, ".TH UNMASK 1 \"\" \"unmask %s\" \"User Commands\"\n.SH NAME\nunmask \\- finds deepfakes in video\n", UNMASK_VERSION));
    UM_PASS(um_buf_add_str(out, ".SH SYNOPSIS\n\\fBunmask\\fR \\fIJOB\\fR [\\fIoptions\\fR]\n.br\n\\fBmpirun \\-n\\fR \\fIN\\fR \\fBunmask\\fR \\fIJOB\\fR [\\fIoptions\\fR]\n"
                                ".SH DESCRIPTION\nFinds faces in videos, trains networks to tell forged ones, and scores collections of videos, on as many machines as there are.\n"
                                "Results go to the standard output or to a file, all else to the standard error.\n.SH JOBS\n"));
    for (int i = 0; jobs[i] != NULL; i++) UM_PASS(man_job(out, jobs[i]));
    UM_PASS(um_buf_add_str(out, ".SH OPTIONS OF ALL JOBS\n"));
    for (const um_opt *o = um_opt_common_rows(); o->key != NULL; o++) UM_PASS(man_option(out, o));
    UM_PASS(um_buf_add_str(out, ".SH EXIT STATUS\n"));
    UM_PASS(man_exit_codes(out));
    UM_PASS(um_buf_add_str(out, ".SH ENVIRONMENT\n"));
    UM_PASS(man_pairs(out, environment, sizeof environment / sizeof environment[0]));
    UM_PASS(um_buf_add_str(out, ".SH FILES\n"));
    UM_PASS(man_pairs(out, files, sizeof files / sizeof files[0]));
    UM_PASS(um_buf_add_str(out, ".SH EXAMPLES\n"));
    UM_PASS(man_pairs(out, examples, sizeof examples / sizeof examples[0]));
    return um_buf_add_str(out, ".SH SEE ALSO\nshare/doc/unmask: README.md and docs; \\fBmpirun\\fR(1), \\fBsbatch\\fR(1)\n");
}

/* ---- bash ---- */

static um_status bash_options(um_buf *out, const um_opt *rows)
{
    for (const um_opt *o = rows; o->key != NULL; o++) {
        if (set_only(o)) continue;
        UM_PASS(um_buf_printf(out, " --%s", o->key));
        if (o->letter != 0) UM_PASS(um_buf_printf(out, " -%c", o->letter));
    }
    return UM_OK;
}

/* A case of "job option" for each option that takes one of some words. */
static um_status bash_choices(um_buf *out, const um_job *job)
{
    for (const um_opt *o = rows_of(job); o->key != NULL; o++) {
        if (!has_choices(o) || set_only(o)) continue;
        UM_PASS(um_buf_printf(out, "    '%s --%s'", job->name, o->key));
        if (o->letter != 0) UM_PASS(um_buf_printf(out, " | '%s -%c'", job->name, o->letter));
        UM_PASS(um_buf_add_str(out, ") words='"));
        for (const char *s = o->choices; *s != 0; s++) UM_PASS(um_buf_add(out, *s == '|' ? " " : s, 1));
        UM_PASS(um_buf_add_str(out, "' ;;\n"));
    }
    return UM_OK;
}

static um_status bash_set_keys(um_buf *out, const um_job *job)
{
    UM_PASS(um_buf_printf(out, "    '%s') words='", job->name));
    for (const um_opt *o = rows_of(job); o->key != NULL; o++) UM_PASS(um_buf_printf(out, " %s=", o->key));
    return um_buf_add_str(out, "' ;;\n");
}

um_status um_manual_bash(const um_job *const *jobs, um_buf *out)
{
    UM_PASS(um_buf_add_str(out, "# Completion of unmask for bash. Made by: unmask manual bash\n_unmask() {\n    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} job=${COMP_WORDS[1]:-} words=''\n    COMPREPLY=()\n"
                                "    # Jobs of two words.\n    case $job in\n"));
    for (int i = 0; jobs[i] != NULL; i++) {
        size_t first = strcspn(jobs[i]->name, " ");
        if (jobs[i]->name[first] == 0) continue;
        bool told = false;
        for (int j = 0; j < i; j++) told = told || (strncmp(jobs[j]->name, jobs[i]->name, first + 1) == 0);
        if (told) continue;
        UM_PASS(um_buf_printf(out, "    %.*s)\n        if [ \"$COMP_CWORD\" -eq 2 ]; then mapfile -t COMPREPLY < <(compgen -W '", (int)first, jobs[i]->name));
        for (int j = i; jobs[j] != NULL; j++)
            if (strncmp(jobs[j]->name, jobs[i]->name, first + 1) == 0) UM_PASS(um_buf_printf(out, " %s", jobs[j]->name + first + 1));
        UM_PASS(um_buf_add_str(out, "' -- \"$cur\"); return; fi\n        job=\"$job ${COMP_WORDS[2]}\"\n        ;;\n"));
    }
    UM_PASS(um_buf_add_str(out, "    esac\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='help version manual"));
    for (int i = 0; jobs[i] != NULL; i++) UM_PASS(um_buf_printf(out, " %.*s", (int)strcspn(jobs[i]->name, " "), jobs[i]->name));
    UM_PASS(um_buf_add_str(out, "'\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\" | sort -u)\n        return\n    fi\n    case \"$job $before\" in\n    'manual manual') words='man bash' ;;\n"));
    for (int i = 0; jobs[i] != NULL; i++) UM_PASS(bash_choices(out, jobs[i]));
    UM_PASS(um_buf_add_str(out, "    esac\n    if [ \"$before\" = --set ]; then\n        case $job in\n"));
    for (int i = 0; jobs[i] != NULL; i++) UM_PASS(bash_set_keys(out, jobs[i]));
    UM_PASS(um_buf_add_str(out, "        esac\n        compopt -o nospace 2>/dev/null\n    fi\n    if [ -z \"$words\" ] && [[ $cur == -* ]]; then\n        case $job in\n"));
    for (int i = 0; jobs[i] != NULL; i++) {
        UM_PASS(um_buf_printf(out, "        '%s') words='", jobs[i]->name));
        UM_PASS(bash_options(out, rows_of(jobs[i])));
        UM_PASS(bash_options(out, um_opt_common_rows()));
        UM_PASS(um_buf_add_str(out, "' ;;\n"));
    }
    return um_buf_add_str(out, "        esac\n    fi\n    # What is no word of ours is a file.\n    if [ -n \"$words\" ]; then mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"); else mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); fi\n}\n"
                               "complete -o filenames -F _unmask unmask\n");
}

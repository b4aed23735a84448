#!/bin/bash
# make_bad_videos.sh OUTDIR: bad and odd video files, the same bytes each time on one version of ffmpeg, in well under a minute. expected_status.tsv, beside this script, says what the program must
# answer for each. Needs the ffmpeg program with libx264, and perl (part of every Debian). Exits 77 when they are missing.
set -eu
for need in ffmpeg perl; do
    command -v $need >/dev/null || { echo "skipped: the $need program is missing"; exit 77; }
done
ffmpeg -v quiet -encoders | grep -q libx264 || { echo "skipped: ffmpeg has no libx264"; exit 77; }
[ $# = 1 ] || { echo "usage: make_bad_videos.sh OUTDIR" >&2; exit 2; }
mkdir -p "$1"
cd "$1"

F() { ffmpeg -nostdin -v error -y -fflags +bitexact "$@"; }
T="-f lavfi -i testsrc2=size=160x120:rate=30:duration=2"
S="-f lavfi -i testsrc2=size=160x120:rate=30:duration=0.5"
X="-c:v libx264 -threads 1 -pix_fmt yuv420p -g 15 -flags:v +bitexact"
enc() { local out=$1; shift; F $T "$@" -threads 1 -flags:v +bitexact "$out"; }   # 60 frames of the test picture, coded as said

# patch FROM TO 'perl code on $_, the bytes': the helpers put big-endian numbers after a four-letter box name.
patch() {
    perl -0777 -e '
        sub at { my ($tag, $k) = @_; my $i = index($_, $tag); die "no $tag" if $i < 0; $i + 4 + $k }
        sub put32 { substr($_, $_[0], 4) = pack("N", $_[1]) }
        sub put16 { substr($_, $_[0], 2) = pack("n", $_[1]) }
        # A generator of our own: rand() differs between builds of perl.
        my $state; sub seed { $state = $_[0] + 1 } sub rnd { $state = ($state * 1103515245 + 12345) % 2147483648; int($state / 8) % $_[0] }
        sub flip { my ($n, $from, $to) = @_; for my $k (1 .. $n) { my $i = $from + rnd($to - $from); substr($_, $i, 1) = chr(ord(substr($_, $i, 1)) ^ (1 << rnd(8))) } }
        my ($from, $to, $code) = @ARGV;
        open my $in, "<:raw", $from or die; $_ = <$in>; close $in;
        eval $code; die $@ if $@;
        open my $out, ">:raw", $to or die; print $out $_; close $out;' "$@"
}
cut() { head -c "$3" "$1" > "$2"; }
size() { stat -c %s "$1"; }

# --- good ones, as a base
F $T $X good.mp4
F -i good.mp4 -c copy -movflags +faststart fast.mp4
F -i good.mp4 -c copy good.mkv
F -i good.mp4 -c copy good.ts
F -i good.mp4 -c copy good.flv
F $T $X -movflags frag_keyframe+empty_moov frag.mp4
enc good.avi -c:v mpeg4 -bf 2
enc good.mpg -c:v mpeg2video
enc good.wmv -c:v wmv2
enc good.ogv -c:v libtheora || rm -f good.ogv
enc vp8.webm -c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 1 -lag-in-frames 10
enc vp9.webm -c:v libvpx-vp9 -deadline realtime -cpu-used 8
enc mjpeg.mov -c:v mjpeg -pix_fmt yuvj420p
F $S -c:v libsvtav1 -preset 12 av1.mp4 2>/dev/null </dev/null || F $S -c:v libaom-av1 -cpu-used 8 -usage realtime av1.mp4
F $S -c:v libx265 -x265-params log-level=none:pools=1 hevc.mp4
enc msmpeg4.avi -c:v msmpeg4
enc h263.3gp -c:v h263 -s 176x144

# --- odd but whole
enc h264_10bit.mp4 -c:v libx264 -pix_fmt yuv420p10le
F $S -c:v libx265 -x265-params log-level=none:pools=1 -pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc hevc_hdr10.mp4
enc yuvj.mp4 -c:v libx264 -pix_fmt yuvj420p
enc yuv444.mp4 -c:v libx264 -pix_fmt yuv444p
enc yuv422.mp4 -c:v libx264 -pix_fmt yuv422p
enc gray.mp4 -c:v libx264 -pix_fmt gray
enc bt709.mp4 $X -colorspace bt709 -color_primaries bt709 -color_trc bt709
F $S -vf format=yuva444p10le -c:v prores_ks prores4444.mov
F $S -vf format=rgba -c:v png png_alpha.mov
F $S -c:v ffv1 ffv1.mkv
F $S -c:v rawvideo -pix_fmt bgr24 rawbgr.avi
F -f lavfi -i testsrc=size=161x121:rate=30:duration=0.5 -c:v libx264 -threads 1 -pix_fmt yuv444p odd444.mp4
F -f lavfi -i testsrc2=size=162x122:rate=30:duration=0.5 $X odd420.mp4
F -f lavfi -i testsrc=size=161x121:rate=30:duration=0.5 -c:v libvpx -deadline realtime -cpu-used 8 -pix_fmt yuv420p odd_vp8.webm
F -f lavfi -i testsrc=size=161x121:rate=30:duration=0.5 -pix_fmt yuv420p -c:v mpeg4 odd_mpeg4.avi
F -f lavfi -i testsrc2=size=2x2:rate=30:duration=0.5 $X tiny_2x2.mp4
F -f lavfi -i testsrc2=size=16x2048:rate=30:duration=0.2 $X thin.mp4
for a in 90 180 270; do F -i good.mp4 -c copy -metadata:s:v:0 rotate=$a rot$a.mp4; done
enc r.mov -vf crop=98:74 -c:v mjpeg -pix_fmt yuvj422p; F -i r.mov -c copy -metadata:s:v:0 rotate=90 rot_odd.mov; rm r.mov
enc interlaced.mp4 $X -flags +ilme+ildct -x264-params tff=1
F $S -f lavfi -i testsrc2=size=160x120:rate=10:duration=1 -filter_complex "[0][1]concat=n=2:v=1" -vsync vfr $X vfr.mp4
F -i good.mp4 -itsoffset 100000 -i good.mp4 -map 1 -c copy late_start.mp4
F -ss 0.7 -i good.mp4 -c copy editlist.mp4
F $T -map 0 -map 0 $X two_video.mp4
F $T -frames:v 1 $X one_frame.mp4
F -i good.mp4 -f lavfi -i testsrc2=size=64x64:rate=1:duration=1 -map 0 -map 1 -c:v:0 copy -c:v:1 mjpeg -pix_fmt:v:1 yuvj420p -frames:v:1 1 -disposition:v:1 attached_pic cover.mp4
cp good.mp4 right_bytes.wrong.txt
cp good.mp4 $'new\nline.mp4'; cp good.mp4 'comma,"quote".mp4'; cp good.mp4 $'bad\xff\xfeutf8.mp4'; cp good.mp4 '=cmd|calc.mp4'; cp good.mp4 ./-dash.mp4; cp good.mp4 'a%03d.mp4'; cp good.mp4 'concat:good.mp4|good.mp4'
ln -sfn good.mp4 link.mp4

# --- no video in it
: > zero_bytes.mp4
cut good.mp4 8bytes.mp4 8
cut good.mp4 ftyp_only.mp4 40
printf 'hello\nworld\n' > text.mp4
cp "$(command -v perl)" elf.mp4; cut elf.mp4 elf_short.mp4 100000; mv elf_short.mp4 elf.mp4
gzip -nc good.mp4 > gz.mp4
F $S -frames:v 1 -f image2 pic.png; mv pic.png png.mp4
F $S -frames:v 1 -f gif gif.mp4
F $S -frames:v 1 -f image2 -c:v mjpeg -pix_fmt yuvj420p jpg.jpg; mv jpg.jpg jpeg.mp4
perl -e 'print "\0" x 100000' > zeros.mp4
perl -e 'my $s = 7; for (1 .. 100000) { $s = ($s * 1103515245 + 12345) % 2147483648; print chr(int($s / 65536) % 256) }' > noise.mp4
F -f lavfi -i sine=440:duration=1 -c:a aac audio_only.mp4
F -f lavfi -i sine=440:duration=1 -c:a pcm_s16le wav.wav; mv wav.wav wav.mp4
F -f lavfi -i sine=440:duration=1 -f lavfi -i testsrc2=size=64x64:rate=1:duration=1 -map 0 -map 1 -c:a aac -c:v mjpeg -pix_fmt yuvj420p -frames:v 1 -disposition:v attached_pic cover_only.mp4
F -f lavfi -i testsrc2=size=160x120:rate=30:duration=1 -c:v gif -f gif anim.gif; mv anim.gif gif_anim.mp4
F $T -t 0 $X no_frames.mp4 2>/dev/null || true
F $T $X -movflags frag_keyframe+empty_moov h.mp4; perl -0777 -e 'open my $f, "<:raw", "h.mp4"; $_ = <$f>; print substr($_, 0, index($_, "moof") - 4)' > frag_header_only.mp4; rm h.mp4

# --- codecs that are not accepted
enc snow.avi -c:v snow -strict -2
enc flashsv.flv -c:v flashsv
patch good.mp4 unknown_fourcc.mp4 'substr($_, at("stsd", 12), 4) = "zzzz"'

# --- cut short
cut good.mp4 trunc_no_moov.mp4 $(( $(size good.mp4) / 2 ))
cut fast.mp4 trunc_half.mp4 $(( $(size fast.mp4) / 2 ))
cut fast.mp4 trunc_tail.mp4 $(( $(size fast.mp4) - 200 ))
cut fast.mp4 trunc_first.mp4 $(( $(size fast.mp4) * 15 / 100 ))
cut frag.mp4 trunc_frag.mp4 $(( $(size frag.mp4) * 60 / 100 ))
cut good.avi trunc.avi $(( $(size good.avi) * 60 / 100 ))
cut good.mkv trunc.mkv $(( $(size good.mkv) * 60 / 100 ))
cut good.ts trunc.ts $(( $(size good.ts) * 60 / 100 ))
cut good.flv trunc.flv $(( $(size good.flv) * 60 / 100 ))

# --- damaged: headers that lie, bits that flipped
patch good.mp4 stsz_count_bomb.mp4 'put32(at("stsz", 8), 0x7fffffff)'
patch good.mp4 stts_count_bomb.mp4 'put32(at("stts", 4), 0x7fffffff)'
patch good.mp4 stts_delta_bomb.mp4 'put32(at("stts", 12), 0xffffffff)'
patch good.mp4 stco_outside.mp4 'put32(at("stco", 8), 0x7fffff00)'
patch good.mp4 moov_size_huge.mp4 'put32(at("moov", -8), 0x7fffffff)'
patch good.mp4 moov_size_zero.mp4 'put32(at("moov", -8), 0)'
patch good.mp4 mvhd_size_tiny.mp4 'put32(at("mvhd", -8), 9)'
patch good.mp4 avcc_zero.mp4 'substr($_, at("avcC", 0), 30) = "\0" x 30'
patch good.mp4 box_dims_16k.mp4 'put16(at("avc1", 24), 16384); put16(at("avc1", 26), 16384)'
patch good.mp4 mdat_zeros.mp4 'substr($_, at("mdat", 2000), 4000) = "\0" x 4000'
patch good.mp4 mdat_all_zeros.mp4 'my $a = at("mdat", 0); my $n = index($_, "moov") - 4 - $a; substr($_, $a, $n) = "\0" x $n'
patch good.mp4 mdat_all_noise.mp4 'my $a = at("mdat", 0); my $n = index($_, "moov") - 4 - $a; seed(5); substr($_, $a, $n) = join "", map { chr(rnd(256)) } 1 .. $n'
for i in 0 1 2 3 4 5 6 7; do patch good.mp4 flip$i.mp4 "seed($i); flip(30, at('mdat', 800), index(\$_, 'moov') - 4)"; done
for i in 0 1 2 3; do patch good.mp4 flip_head$i.mp4 "seed(100 + $i); flip(12, index(\$_, 'moov') + 4, length(\$_))"; done
for i in 0 1 2; do patch good.avi flip_avi$i.avi "seed(200 + $i); flip(40, 0, length(\$_))"; patch good.mkv flip_mkv$i.mkv "seed(300 + $i); flip(40, 0, length(\$_))"; patch hevc.mp4 flip_hevc$i.mp4 "seed(400 + $i); flip(30, at('mdat', 600), index(\$_, 'moov') - 4)"; done
patch good.mkv ebml_bomb.mkv 'substr($_, index($_, "\x18\x53\x80\x67") + 4, 8) = "\x01\xff\xff\xff\xff\xff\xff\xfe"'

# --- frames too large: the header of a picture asks for gigabytes
F $S -frames:v 1 -vf scale=64:64 -c:v png bomb_base.mov
patch bomb_base.mov bomb_png_64k.mov 'my $i = at("IHDR", 0); put32($i, 65536); put32($i + 4, 65536)'
patch bomb_base.mov bomb_png_16k.mov 'my $i = at("IHDR", 0); put32($i, 16384); put32($i + 4, 16384)'
F $S -frames:v 1 -vf scale=64:64 -c:v mjpeg -pix_fmt yuvj420p bomb_jpeg.mov
patch bomb_jpeg.mov bomb_jpeg_64k.mov 'my $i = index($_, "\xff\xc0"); put16($i + 5, 65500); put16($i + 7, 65500)'
patch bomb_jpeg.mov bomb_jpeg_16k.mov 'my $i = index($_, "\xff\xc0"); put16($i + 5, 16384); put16($i + 7, 16384)'
rm -f bomb_jpeg.mov bomb_base.mov

# --- the size changes midway
F $S $X -f h264 a.h264; F -f lavfi -i testsrc2=size=192x144:rate=30:duration=0.5 $X -f h264 b.h264
cat a.h264 b.h264 > ab.h264; F -r 30 -i ab.h264 -c copy size_change.mp4; F -i a.h264 -c:v libx264 -threads 1 a.ts; F -i b.h264 -c:v libx264 -threads 1 b.ts; cat a.ts b.ts > size_change.ts; rm a.h264 b.h264 ab.h264 a.ts b.ts

# --- files that name other files: none of those may be opened (foreign.ts is watched)
F -i good.mp4 -c copy foreign.ts
here=$(pwd)
printf '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\nforeign.ts\n#EXT-X-ENDLIST\n' > hls.mp4
printf '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\nfile://%s/foreign.ts\n#EXT-X-ENDLIST\n' "$here" > hls_absolute.mp4
printf '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n' > hls_http.mp4
printf 'ffconcat version 1.0\nfile foreign.ts\n' > concat.mp4
printf 'ffconcat version 1.0\nfile %s/foreign.ts\n' "$here" > concat_absolute.mp4
for u in foreign.ts "file://$here/foreign.ts" http://127.0.0.1:9/x.mp4; do
    n=dash_local.mp4; case $u in file*) n=dash_absolute.mp4;; http*) n=dash_http.mp4;; esac
    printf '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static" mediaPresentationDuration="PT2S" minBufferTime="PT1S">\n<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="100000" width="160" height="120"><BaseURL>%s</BaseURL></Representation></AdaptationSet></Period></MPD>\n' "$u" > $n
done
printf 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n' > sdp.mp4
# A QuickTime data reference (alias) to another file in place of "the data are here".
patch good.mp4 dref_alias.mp4 'my $i = index($_, "url \0\0\0\1"); substr($_, $i, 8) = "alis\0\0\0\0"'

# --- not files
rm -f fifo.mp4; mkfifo fifo.mp4
mkdir -p dir.mp4
ln -sfn loop_b.mp4 loop_a.mp4; ln -sfn loop_a.mp4 loop_b.mp4
ln -sfn nowhere.mp4 dangling.mp4
ln -sfn /dev/zero device.mp4
cp good.mp4 forbidden.mp4; chmod 000 forbidden.mp4

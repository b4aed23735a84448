"""Fetches what unmask needs from published packages: the detector's weights and the demo's portraits.

usage: fetch.py [--no-portraits]      fetch what is missing, check it, unpack the portraits
       fetch.py --print facenet-pytorch   print where that file lies (it need not be there)

Everything is pinned: package, version, file, SHA-256 of the file and of each picture. Files already there are checked and
kept in share/unmask/downloads. What lies in the folder that UNMASK_DOWNLOADS names is copied from there, not fetched.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HOME = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "share", "unmask")
DOWNLOADS = os.path.join(HOME, "downloads")
PORTRAITS = os.path.join(HOME, "portraits")

# A wheel for one fixed platform, whatever this machine is: only the pictures in it are used, and they must be the same bytes
# everywhere. The platform is the one whose wheel is smallest.
ONE_PLATFORM = ["--only-binary=:all:", "--implementation=cp", "--platform=win_amd64"]

# package: (version, file, SHA-256 of the file, options for pip, what it is for)
ARCHIVES = {
    "facenet-pytorch": ("2.6.0", "facenet_pytorch-2.6.0-py3-none-any.whl",
                        "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
                        ["--only-binary=:all:"], "the detector's weights (MIT)"),
    "scikit-image": ("0.26.0", "scikit_image-0.26.0-cp311-cp311-win_amd64.whl",
                     "9490360c8d3f9a7e85c8de87daf7c0c66507960cf4947bb9610d1751928721c7",
                     ONE_PLATFORM + ["--python-version=3.11", "--abi=cp311"], "a portrait of Eileen Collins"),
    "matplotlib": ("3.5.3", "matplotlib-3.5.3-cp38-cp38-win_amd64.whl",
                   "b28de401d928890187c589036857a270a032961411934bdac4cf12dde3d43094",
                   ONE_PLATFORM + ["--python-version=3.8", "--abi=cp38"], "a portrait of Grace Hopper"),
    # Source archive: its wheel has no pictures. pip runs its set-up script to read the name and version, with the setuptools
    # of this machine.
    "face_recognition": ("1.3.0", "face_recognition-1.3.0.tar.gz",
                         "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
                         ["--no-binary=:all:", "--no-build-isolation"], "portraits of Barack Obama and Joe Biden"),
}

# picture: (package, member, SHA-256). All four are works of the US government, in the public domain.
PICTURES = {
    "eileen_collins.png": ("scikit-image", "skimage/data/astronaut.png",
                           "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    "grace_hopper.jpg": ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
                         "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"),
    "barack_obama.jpg": ("face_recognition", "face_recognition-1.3.0/tests/test_images/obama.jpg",
                         "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    "joe_biden.jpg": ("face_recognition", "face_recognition-1.3.0/tests/test_images/biden.jpg",
                      "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
}


def sha256(path):
    """The SHA-256 of a file in hex, or None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def archive_path(package):
    """Where a package's file lies."""
    return os.path.join(DOWNLOADS, ARCHIVES[package][1])


def take_brought(package):
    """Copies one archive from the folder that the user named; whether it was there and the right one."""
    folder = os.environ.get("UNMASK_DOWNLOADS")
    if not folder:
        return False
    brought = os.path.join(folder, ARCHIVES[package][1])
    if sha256(brought) != ARCHIVES[package][2]:
        if os.path.exists(brought):
            print(f"setup: {brought} does not have the pinned hash: not used", file=sys.stderr)
        return False
    os.makedirs(DOWNLOADS, exist_ok=True)
    partial = f"{archive_path(package)}.{os.getpid()}"
    shutil.copyfile(brought, partial)
    os.replace(partial, archive_path(package))
    return True


def download(package):
    """Brings one archive with pip; None, or why it could not be had."""
    version, file, wanted, options, _ = ARCHIVES[package]
    os.makedirs(DOWNLOADS, exist_ok=True)
    # Beside its final place, so that the last step is a rename and a broken run leaves no half file under the final name.
    with tempfile.TemporaryDirectory(dir=DOWNLOADS, prefix=".fetch.") as folder:
        pins = os.path.join(folder, "pins.txt")
        with open(pins, "w", encoding="ascii") as out:
            out.write(f"{package}=={version} --hash=sha256:{wanted}\n")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--no-cache-dir",
                   "--require-hashes", "--dest", folder, *options, "--requirement", pins]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False)
        got = os.path.join(folder, file)
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if line.strip()]
            return "pip failed: " + (lines[-1] if lines else f"exit code {done.returncode}")
        if sha256(got) != wanted:
            return f"pip brought something else than {file}"
        os.replace(got, os.path.join(DOWNLOADS, file))
    return None


def unpack(name):
    """Takes one picture out of its archive; None, or what is wrong."""
    package, member, wanted = PICTURES[name]
    archive = archive_path(package)
    try:
        if archive.endswith(".whl"):
            with zipfile.ZipFile(archive) as box:
                data = box.read(member)
        else:
            with tarfile.open(archive) as box:
                data = box.extractfile(member).read()
    except (OSError, KeyError, AttributeError, zipfile.BadZipFile, tarfile.TarError) as error:
        return f"{member} cannot be read from {archive}: {error}"
    if hashlib.sha256(data).hexdigest() != wanted:
        return f"{member} in {archive} is not the picture that was pinned"
    os.makedirs(PORTRAITS, exist_ok=True)
    partial = os.path.join(PORTRAITS, f".{name}.{os.getpid()}")
    with open(partial, "wb") as out:
        out.write(data)
    os.replace(partial, os.path.join(PORTRAITS, name))
    return None


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--print" and arguments[1] in ARCHIVES:
        print(archive_path(arguments[1]))
        return 0
    if arguments not in ([], ["--no-portraits"]):
        print(__doc__, file=sys.stderr)
        return 2

    pictures = [name for name, (_, _, wanted) in PICTURES.items() if sha256(os.path.join(PORTRAITS, name)) != wanted]
    if "--no-portraits" in arguments:
        pictures = []
    packages = ["facenet-pytorch"] + sorted({PICTURES[name][0] for name in pictures})

    failed = []
    for package in packages:
        if sha256(archive_path(package)) == ARCHIVES[package][2] or take_brought(package):
            continue
        print(f"setup: fetching {ARCHIVES[package][1]} ({ARCHIVES[package][4]})", flush=True)
        why = download(package)
        if why is not None:
            failed.append((package, why))
    if failed:
        for package, why in failed:
            print(f"setup: cannot fetch {package}: {why}", file=sys.stderr)
        print("\nOn a machine without a network, bring these files and name their folder in UNMASK_DOWNLOADS, then run this again:",
              file=sys.stderr)
        for package, _ in failed:
            version, file, wanted, options, purpose = ARCHIVES[package]
            print(f"  {file}\n    sha256 {wanted}; {purpose}\n    pip download --no-deps {' '.join(options)} {package}=={version}",
                  file=sys.stderr)
        if all(package != "facenet-pytorch" for package, _ in failed):
            print("The portraits serve only the demo and its test: scripts/setup --no-portraits goes on without them.", file=sys.stderr)
        return 78

    for name in pictures:
        why = unpack(name)
        if why is not None:
            print(f"setup: {why}", file=sys.stderr)
            return 78
    print(f"setup: weights and {len(os.listdir(PORTRAITS)) if os.path.isdir(PORTRAITS) else 0} portraits are in {os.path.relpath(HOME)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

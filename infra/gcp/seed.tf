# The metadata that modules/project writes, here and in other projects. Another script may be appended to the startup
# script. The program is compressed, as in the metadata of an instance.
locals {
  seed = {
    program        = base64gzip(file("${local.dist}/peermasq.sh"))
    startup_script = file("${local.dist}/startup-script.sh")
  }
}

"""A bundle -> a private data set on Kaggle, and a notebook that predicts with it.

Through ``kagglesdk``, on which the kaggle package is built: the same for its versions 2.0 and 2.2,
of which the former goes on without a file that could not be uploaded.
"""

import logging
import time
from pathlib import Path
from typing import Any

from paddy_lightning.choices import Source
from paddy_lightning.command_configs import PushConfig
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.api import POLL, check_name, kaggle_api, upload
from paddy_lightning.kaggle.bundle import NOTEBOOK
from paddy_lightning.kaggle.errors import one_line
from paddy_lightning.runs.trained import load_checkpoint

log = logging.getLogger(__name__)
LENGTHS = (6, 50)  # characters of a data set's name
GPU = "NvidiaTeslaT4"
LICENCE = "unknown"  # Kaggle's word for none; it is private


def run_push(config: PushConfig) -> str:
    """``paddy push``: upload, wait until Kaggle has unpacked it, and start the notebook.

    Returns:
        The notebook's address.

    Raises:
        UserError: No bundle, no competition, or Kaggle refuses.
    """
    if not config.bundle:
        raise UserError("say which bundle, with bundle=FOLDER; paddy bundle run=RUN makes it")
    if not config.wait >= 0:
        raise UserError(f"wait={config.wait}: must be at least 0 seconds")
    folder = Path(config.bundle)
    files = sorted((folder / "data").glob("*"))
    networks = [file for file in files if file.suffix == ".ckpt"]
    if not networks or not (folder / NOTEBOOK).is_file():
        raise UserError(f"{folder}: not a bundle; paddy bundle run=RUN makes one")
    competition = config.competition or _competition_of(networks[0])
    check_name(competition)
    name = config.name or f"{competition}-bundle"[: LENGTHS[1]].strip("-")
    if not LENGTHS[0] <= len(name) <= LENGTHS[1] or not name.replace("-", "").isalnum():
        raise UserError(f"name={name}: must have 6 to 50 letters, digits and hyphens")
    with kaggle_api(competition) as api:
        owner = api.config_values["username"]
        send_data(api, owner, name, files)
        wait_for_data(api, owner, name, config.wait)
        text = (folder / NOTEBOOK).read_text("utf-8")
        return send_notebook(api, owner, name, text, competition, config.gpu)


def send_data(api: Any, owner: str, name: str, files: list[Path]) -> None:
    """Upload files as a new private data set, or as a new version of one.

    Raises:
        UserError: Kaggle does not take it.
    """
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest
    from kagglesdk.datasets.types import dataset_api_service as types

    is_new = status_of(api, owner, name) is None
    new_files = []
    with api.build_kaggle_client() as client:
        for file in files:
            start = ApiStartBlobUploadRequest()
            start.type, start.name = ApiBlobType.DATASET, file.name
            start.content_length = file.stat().st_size
            start.last_modified_epoch_seconds = int(file.stat().st_mtime)
            place = client.blobs.blob_api_client.start_blob_upload(start)
            upload(f"{owner}/{name}", file, place.create_url)
            new_files.append(types.ApiDatasetNewFile())
            new_files[-1].token = place.token
        datasets = client.datasets.dataset_api_client
        if is_new:
            request = types.ApiCreateDatasetRequest()
            request.owner_slug, request.slug, request.title = owner, name, name
            request.license_name, request.is_private, request.files = LICENCE, True, new_files
            answer = datasets.create_dataset(request)
        else:
            version = types.ApiCreateDatasetVersionRequest()
            version.owner_slug, version.dataset_slug = owner, name
            version.body = types.ApiCreateDatasetVersionRequestBody()
            version.body.version_notes, version.body.files = "paddy push", new_files
            answer = datasets.create_dataset_version(version)
    if answer.error:
        raise UserError(f"{owner}/{name}: Kaggle did not take it: {one_line(answer.error)}")
    log.info("%s of the data set %s", "first version" if is_new else "new version", answer.url)


def status_of(api: Any, owner: str, name: str) -> str | None:
    """How far Kaggle is with a data set, such as READY; None where there is none."""
    import requests
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = owner, name
    try:
        with api.build_kaggle_client() as client:
            answer = client.datasets.dataset_api_client.get_dataset_status(request)
            return str(answer.status.name)
    except requests.HTTPError as error:
        # Of what is not there, Kaggle says that it is not to be seen.
        if error.response is not None and error.response.status_code in (403, 404):
            return None
        raise


def wait_for_data(api: Any, owner: str, name: str, seconds: float) -> None:
    """Until the data set can be read: a notebook that starts before sees none, or an old one.

    Raises:
        UserError: Kaggle could not unpack it, or the time is over.
    """
    deadline, pause = time.monotonic() + seconds, POLL[0]
    while (status := status_of(api, owner, name)) != "READY":
        if status in ("FAILED", "DELETED"):
            raise UserError(f"{owner}/{name}: Kaggle could not unpack it; push it again")
        if time.monotonic() + pause > deadline:
            raise UserError(
                f"{owner}/{name}: is uploaded, and Kaggle is not done with it after {seconds:g}"
                " seconds; push again later, or with a larger wait="
            )
        time.sleep(pause)
        pause = min(1.5 * pause, POLL[1])


def send_notebook(api: Any, owner: str, name: str, text: str, competition: str, gpu: bool) -> str:
    """Save a private notebook without internet, and have Kaggle run it.

    Returns:
        Its address.

    Raises:
        UserError: Kaggle does not take it, or knows no such competition.
    """
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest

    title = f"{name}-predict"
    request = ApiSaveKernelRequest()
    request.slug, request.new_title, request.text = f"{owner}/{title}", title, text
    request.language, request.kernel_type = "python", "notebook"
    request.is_private, request.enable_internet, request.enable_gpu = True, False, gpu
    if gpu:
        request.machine_shape = GPU
    request.dataset_data_sources = [f"{owner}/{name}"]
    request.competition_data_sources = [competition]
    with api.build_kaggle_client() as client:
        answer = client.kernels.kernels_api_client.save_kernel(request)
    if answer.error:
        raise UserError(f"{title}: Kaggle did not take it: {one_line(answer.error)}")
    if answer.invalid_competition_sources:
        raise UserError(
            f"competition={competition}: Kaggle gives its files to no notebook of yours; are its"
            f" rules accepted? The notebook is {answer.url}"
        )
    log.info("running, and there to be submitted when it is done: %s", answer.url)
    return str(answer.url)


def _competition_of(network: Path) -> str:
    """Whose files it was trained on, as the name of their folder tells.

    Raises:
        UserError: It was trained on others.
    """
    data = load_checkpoint(network)["hyper_parameters"]["data"]
    if Source(data["source"]) is not Source.paddy or not data["root"]:
        raise UserError(
            f"{network}: was not trained on a competition's files; say with competition=NAME whose"
            " test pictures the notebook is to predict"
        )
    return Path(data["root"]).name

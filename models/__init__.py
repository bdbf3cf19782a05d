"""The tables, one file each; `metadata` knows them all."""

from models.accounts import Account
from models.attachments import Attachment
from models.audits import Audit
from models.base import Base
from models.credentials import Credential
from models.cursors import Cursor
from models.feed import Consumer, Erasure, Feed
from models.folders import Folder
from models.history import MessageFolderPast, MessageLabelPast
from models.labels import Label
from models.message_labels import MessageLabel
from models.message_people import MessagePerson
from models.messages import Message
from models.people import Person
from models.problems import Problem
from models.runs import Run
from models.throttles import Throttle
from models.windows import Window

metadata = Base.metadata

__all__ = [
    "Account",
    "Attachment",
    "Audit",
    "Consumer",
    "Credential",
    "Cursor",
    "Erasure",
    "Feed",
    "Folder",
    "Label",
    "Message",
    "MessageFolderPast",
    "MessageLabel",
    "MessageLabelPast",
    "MessagePerson",
    "Person",
    "Problem",
    "Run",
    "Throttle",
    "Window",
    "metadata",
]

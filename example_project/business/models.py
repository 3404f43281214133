"""The data of a tenant, which maintains other companies' warehouse equipment."""

from django.db import models
from django.db.models import F, Q


class Partner(models.Model):
    """A company that the tenant works for."""

    number = models.CharField(max_length=12, unique=True)
    name = models.CharField(max_length=120, db_index=True)
    contact = models.CharField(max_length=80)
    email = models.EmailField()
    street = models.CharField(max_length=120)
    city = models.CharField(max_length=80)
    since = models.DateField()
    notes = models.TextField(blank=True)

    class Meta:
        ordering = ["name", "number"]

    def __str__(self) -> str:
        return self.name


class Contract(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft"
        ACTIVE = "active"
        TERMINATED = "terminated"
        EXPIRED = "expired"

    number = models.CharField(max_length=16, unique=True)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="contracts")
    title = models.CharField(max_length=160)
    status = models.CharField(max_length=12, choices=Status, default=Status.DRAFT)
    monthly_fee = models.DecimalField(max_digits=9, decimal_places=2)
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True, help_text="Empty: until it is terminated.")
    notice_months = models.PositiveSmallIntegerField(default=3)
    terms = models.TextField(blank=True)

    class Meta:
        ordering = ["-starts_on", "number"]
        indexes = [models.Index(fields=["status", "ends_on"], name="contract_status_ends_on")]
        constraints = [
            models.CheckConstraint(
                condition=Q(monthly_fee__gte=0), name="contract_fee_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(ends_on__isnull=True) | Q(ends_on__gte=F("starts_on")),
                name="contract_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


class Ticket(models.Model):
    class Status(models.TextChoices):
        OPEN = "open"
        WAITING = "waiting"
        CLOSED = "closed"

    class Priority(models.IntegerChoices):
        LOW = 1
        NORMAL = 2
        HIGH = 3

    number = models.CharField(max_length=12, unique=True)
    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="tickets")
    subject = models.CharField(max_length=160)
    description = models.TextField()
    work_log = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    reported_by = models.CharField(max_length=80)
    # A name, not a foreign key: users are in the control database.
    assigned_to = models.CharField(max_length=80, blank=True)
    hours = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-opened_at", "-number"]
        indexes = [
            models.Index(fields=["-opened_at", "-number"], name="ticket_newest"),
            models.Index(fields=["status", "priority"], name="ticket_status_priority"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="closed", closed_at__gte=F("opened_at"))
                | (~Q(status="closed") & Q(closed_at__isnull=True)),
                name="ticket_closed_at_if_closed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.subject}"


class InventoryItem(models.Model):
    """A device that the tenant owns, in its own store or at work under a contract."""

    serial_number = models.CharField(max_length=24, unique=True)
    name = models.CharField(max_length=120)
    category = models.CharField(max_length=40, db_index=True)
    contract = models.ForeignKey(
        Contract, on_delete=models.SET_NULL, null=True, blank=True, related_name="items"
    )
    location = models.CharField(max_length=120)
    purchased_on = models.DateField()
    purchase_price = models.DecimalField(max_digits=9, decimal_places=2)
    warranty_until = models.DateField(null=True, blank=True)
    remarks = models.TextField(blank=True)

    class Meta:
        ordering = ["name", "serial_number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(purchase_price__gte=0), name="item_price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.serial_number}"

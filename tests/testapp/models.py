"""A bookshop: one model of every relation kind, so that no test depends on the bundled domain."""

from __future__ import annotations

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Publisher(models.Model):
    name = models.CharField(max_length=100)
    country = models.CharField(max_length=2, default="GB")

    def __str__(self):
        return self.name


class Author(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    born = models.DateField(null=True)
    friends = models.ManyToManyField("self", blank=True)
    notes = GenericRelation("testapp.Note")

    def __str__(self):
        return self.name


class Profile(models.Model):
    author = models.OneToOneField(Author, models.CASCADE)
    biography = models.TextField(default="")

    def __str__(self):
        return f"profile {self.pk}"


class Tag(models.Model):
    slug = models.SlugField(unique=True)

    def __str__(self):
        return self.slug


class Book(models.Model):
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    title = models.CharField(max_length=200)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="edited")
    publisher = models.ForeignKey(Publisher, models.PROTECT, null=True)
    tags = models.ManyToManyField(Tag, related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    rating = models.FloatField(null=True)
    pages = models.IntegerField(default=0)
    published_at = models.DateTimeField(null=True)
    data = models.JSONField(default=dict)

    def __str__(self):
        return self.title


class Note(models.Model):
    text = models.CharField(max_length=200)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.BigIntegerField()
    subject = GenericForeignKey()

    def __str__(self):
        return self.text


class Shop(models.Model):
    """Primary key of another kind, and a foreign key to a unique column that is not the primary key."""

    code = models.CharField(max_length=10, primary_key=True)
    tenant = models.IntegerField(default=1)
    bestseller = models.ForeignKey(Book, models.SET_NULL, null=True, to_field="key")

    def __str__(self):
        return self.code


class Place(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Cafe(Place):
    """Its rows lie in two tables under one key."""

    seats = models.IntegerField(default=10)


class Stock(models.Model):
    """Its key has two columns."""

    pk = models.CompositePrimaryKey("shop_code", "title")
    shop_code = models.CharField(max_length=10)
    title = models.CharField(max_length=100)
    copies = models.IntegerField(default=0)

    def __str__(self):
        return f"{self.copies} of {self.title}"
